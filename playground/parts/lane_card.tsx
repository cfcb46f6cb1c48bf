/// <reference lib="dom" />
/**
 * A column: its adapters with their sliders, and its text.
 *
 * @module
 */
import { useEffect, useRef } from "preact/hooks";
import type { VNode } from "preact";
import type { Term } from "../backend/backend.ts";
import type { Exchange, Lane } from "../state/lane.ts";
import type { ViewProps } from "../views/view.ts";
import { millisecondsText } from "./format.ts";
import { Terms } from "./terms.tsx";

const numberText = (scale: number): string => scale === 1 ? "" : `${scale} × `;

/** What a column is called. */
export function titleOf(terms: readonly Term[]): string {
  if (terms.length === 0) return "Base model";
  return terms.map(({ id, scale }) => `${numberText(scale)}${id}`).join(" + ");
}

const reasons: Readonly<Record<string, string>> = { stop: "ended", length: "limit" };

function Footer({ exchange }: { readonly exchange: Exchange | undefined }): VNode {
  if (!exchange) return <footer class="figures" />;
  const { figures, status, reason } = exchange;
  const ended = status === "done"
    ? reasons[reason ?? ""] ?? "ended"
    : status === "failed"
    ? "failed"
    : status;
  return (
    <footer class="figures">
      {figures && (
        <>
          <span>
            <b>{figures.tokensPerSecond?.toFixed(0) ?? "–"}</b> tok/s
          </span>
          <span>
            first token <b>{millisecondsText(figures.firstTokenMs)}</b>
          </span>
          <span>
            <b>{figures.tokens}</b> tokens
          </span>
        </>
      )}
      <span class={`status ${status}`}>{ended}</span>
    </footer>
  );
}

function Answer({ exchange, isChat }: { readonly exchange: Exchange; readonly isChat: boolean }): VNode {
  const { question, answer, status, reason } = exchange;
  const text = (
    <>
      {isChat ? answer.trimStart() : answer}
      {(status === "waiting" || status === "writing") && <span class="caret" aria-hidden="true" />}
      {status === "failed" && <span class="error" role="alert">{reason}</span>}
    </>
  );
  if (!isChat) {
    return (
      <p class="text">
        <span class="question">{question}</span>
        {text}
      </p>
    );
  }
  return (
    <>
      <p class="bubble question">{question}</p>
      <p class="bubble">{text}</p>
    </>
  );
}

/** See the module's documentation. */
export function LaneCard({ lane, place, session, comparison }: Pick<ViewProps, "session" | "comparison"> & {
  readonly lane: Lane;
  /** From 0, of its hue. */
  readonly place: number;
}): VNode {
  const exchanges = lane.exchanges.value, terms = lane.terms.value;
  const last = exchanges[exchanges.length - 1];
  const text = useRef<HTMLDivElement>(null);
  // A chat is read at its end.
  useEffect(() => {
    const { current } = text;
    if (current) current.scrollTop = current.scrollHeight;
  }, [exchanges]);
  const title = titleOf(terms);
  const busy = last?.status === "waiting" || last?.status === "writing";
  return (
    <article class={`card lane hue-${place}`} aria-label={title}>
      <header>
        <Terms lane={lane} session={session} comparison={comparison} />
        <button
          type="button"
          class="quiet close"
          aria-label={`Remove the column ${title}`}
          disabled={comparison.lanes.value.length === 1}
          onClick={() => comparison.removeLane(lane)}
        >
          ×
        </button>
      </header>
      <div
        class="texts"
        ref={text}
        tabIndex={0}
        aria-busy={busy}
        aria-label={`Text of ${title}`}
        role="region"
      >
        {exchanges.length === 0 && <p class="empty">Nothing yet</p>}
        {exchanges.map((exchange, i) => (
          <Answer key={i} exchange={exchange} isChat={lane.asked?.mode === "chat"} />
        ))}
      </div>
      <Footer exchange={last} />
    </article>
  );
}

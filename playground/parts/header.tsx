/// <reference lib="dom" />
/**
 * The top of the page: the model that answers, and where it computes.
 *
 * @module
 */
import { useSignal, useSignalEffect } from "@preact/signals";
import type { ComponentChildren, VNode } from "preact";
import type { MemoryShare } from "../backend/backend.ts";
import type { ViewProps } from "../views/view.ts";
import { bytesText, percentText } from "./format.ts";
import { isModelPanelOpen } from "./model_panel.tsx";

/** How often memory is asked for. */
const memoryMs = 2000;

function shareText({ name, bytes, part }: MemoryShare): string {
  return `${name} ${bytes === undefined ? percentText(part ?? 0) : bytesText(bytes)}`;
}

function Memory({ session }: Pick<ViewProps, "session">): VNode {
  const shares = useSignal<readonly MemoryShare[]>([]);
  useSignalEffect(() => {
    const backend = session.backend.value;
    if (!backend) return;
    let over = false;
    const look = async (): Promise<void> => {
      if (document.hidden) return;
      const seen = await backend.memory().catch(() => []);
      if (!over) shares.value = seen;
    };
    void look();
    const timer = setInterval(look, memoryMs);
    return () => {
      over = true;
      clearInterval(timer);
    };
  });
  return <span class="memory" title="Memory on the device">{shares.value.map(shareText).join(" · ")}</span>;
}

/** See the module's documentation. */
export function Header(
  { session, comparison, children }: ViewProps & { readonly children: ComponentChildren },
): VNode {
  const backend = session.backend.value, progress = session.progress.value;
  const speed = comparison.tokensPerSecond.value;
  return (
    <header class="top">
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById("main")?.focus();
        }}
      >
        Skip to the playground
      </a>
      <h1>
        fourierft <span>playground</span>
      </h1>
      {children}
      <div class="model-line">
        {backend && (
          <>
            <span class="model-name">
              <span class={`dot${comparison.isRunning.value ? " busy" : ""}`} aria-hidden="true" />
              <b>{backend.model.id}</b>
            </span>
            <span class="where" title={backend.model.device}>
              {backend.way === "server" ? "on this server" : `in this browser · ${backend.model.device}`}
            </span>
            <Memory session={session} />
            <span class="speed">{speed > 0 ? `${speed.toFixed(0)} tokens/s` : ""}</span>
          </>
        )}
        {!backend && !progress && <span class="model-name">no model is open</span>}
        <button
          type="button"
          class="quiet"
          aria-expanded={isModelPanelOpen.value}
          aria-controls="model-panel"
          onClick={() => isModelPanelOpen.value = !isModelPanelOpen.value}
        >
          Model…
        </button>
      </div>
    </header>
  );
}

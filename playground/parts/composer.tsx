/// <reference lib="dom" />
/**
 * The prompt, and how it is answered.
 *
 * @module
 */
import { useEffect, useId, useRef } from "preact/hooks";
import type { VNode } from "preact";
import type { Settings } from "../state/comparison.ts";
import type { ViewProps } from "../views/view.ts";
import { NumberField } from "./field.tsx";

const modes = { completion: "Complete", chat: "Chat" } as const;

function Modes({ comparison }: Pick<ViewProps, "comparison">): VNode {
  const { mode } = comparison.settings.value;
  return (
    <fieldset class="switch">
      <legend class="visually-hidden">How the prompt is used</legend>
      {(Object.keys(modes) as Settings["mode"][]).map((one) => (
        <label key={one}>
          <input
            type="radio"
            name="mode"
            checked={one === mode}
            onChange={() => comparison.set({ mode: one })}
          />
          <span>{modes[one]}</span>
        </label>
      ))}
    </fieldset>
  );
}

function SamplingFields({ session, comparison }: Pick<ViewProps, "session" | "comparison">): VNode {
  const { value: settings } = comparison.settings;
  const longest = session.backend.value?.model.maxModelLen ?? 8192;
  const stopId = useId(), systemId = useId();
  const set = (changed: Partial<Settings>): void => comparison.set(changed);
  return (
    <details class="sampling">
      <summary>Sampling</summary>
      <div class="grid">
        <NumberField
          label="Temperature"
          {...{ min: 0, max: 2, step: 0.1, value: settings.temperature }}
          onValue={(temperature = 0) => set({ temperature })}
        />
        <NumberField
          label="Top p"
          {...{ min: 0.01, max: 1, step: 0.01, value: settings.topP }}
          onValue={(topP = 1) => set({ topP })}
        />
        <NumberField
          label="Top k (0: all)"
          {...{ min: 0, max: 1000, step: 1, value: settings.topK }}
          onValue={(topK = 0) => set({ topK: Math.round(topK) })}
        />
        <NumberField
          label="Repetition penalty"
          {...{ min: 0.5, max: 2, step: 0.05, value: settings.repetitionPenalty }}
          onValue={(repetitionPenalty = 1) => set({ repetitionPenalty })}
        />
        <NumberField
          label="New tokens at most"
          {...{ min: 1, max: longest, step: 1, value: settings.maxTokens }}
          onValue={(maxTokens = 64) => set({ maxTokens: Math.round(maxTokens) })}
        />
        <NumberField
          label="Seed"
          {...{ min: 0, max: 2 ** 31 - 1, step: 1, value: settings.seed }}
          placeholder="random"
          onValue={(seed) => set({ seed: seed === undefined ? undefined : Math.round(seed) })}
        />
        <div class="field">
          <label for={stopId}>Stop strings, one a line</label>
          <textarea
            id={stopId}
            rows={1}
            value={settings.stop}
            onChange={({ currentTarget }) => set({ stop: currentTarget.value })}
          />
        </div>
        {settings.mode === "chat" && (
          <div class="field">
            <label for={systemId}>System message</label>
            <textarea
              id={systemId}
              rows={1}
              value={settings.system}
              onChange={({ currentTarget }) => set({ system: currentTarget.value })}
            />
          </div>
        )}
      </div>
    </details>
  );
}

/** See the module's documentation. */
export function Composer({ session, comparison }: Pick<ViewProps, "session" | "comparison">): VNode {
  const { mode } = comparison.settings.value;
  const running = comparison.isRunning.value;
  const prompts = session.offered?.prompts ?? [];
  const ask = (): void => void comparison.ask();
  const field = useRef<HTMLTextAreaElement>(null);
  // The button that opened the model has gone, and the focus with it.
  useEffect(() => {
    if (document.activeElement === document.body) field.current?.focus({ preventScroll: true });
  }, [session.backend.value]);
  return (
    <form
      class="card composer"
      aria-label="Prompt"
      onSubmit={(event) => {
        event.preventDefault();
        ask();
      }}
    >
      <div class="row">
        <Modes comparison={comparison} />
        <div class="prompts">
          {prompts.map((text) => (
            <button
              key={text}
              type="button"
              class="chip"
              onClick={() => {
                comparison.prompt.value = text;
                ask();
              }}
            >
              {text}
            </button>
          ))}
        </div>
      </div>
      <textarea
        ref={field}
        class="prompt"
        rows={3}
        aria-label={mode === "chat" ? "Message" : "Prompt"}
        placeholder={mode === "chat" ? "A message to every column" : "A text for every column to go on with"}
        value={comparison.prompt.value}
        onInput={({ currentTarget }) => comparison.prompt.value = currentTarget.value}
      />
      <div class="row">
        <SamplingFields session={session} comparison={comparison} />
        <div class="actions">
          {mode === "chat" && (
            <button type="button" class="quiet" onClick={() => comparison.clear()}>New chat</button>
          )}
          <button type="button" disabled={!running} onClick={() => comparison.stop()}>
            Stop <kbd>Esc</kbd>
          </button>
          <button type="submit" class="main" disabled={comparison.prompt.value.trim() === ""}>
            {mode === "chat" ? "Send" : "Generate"} <kbd>Ctrl ↵</kbd>
          </button>
        </div>
      </div>
    </form>
  );
}

/// <reference lib="dom" />
/**
 * A labelled number of a form.
 *
 * @module
 */
import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";
import type { VNode } from "preact";

/** See the module's documentation. */
export function NumberField({ label, value, min, max, step, onValue, placeholder }: {
  readonly label: string;
  readonly value: number | undefined;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly placeholder?: string;
  /** Undefined for an empty field. */
  readonly onValue: (value: number | undefined) => void;
}): VNode {
  const id = useId();
  // What is being typed: a page that is drawn anew meanwhile does not take it away.
  const typed = useSignal<string | undefined>(undefined);
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="number"
        inputMode="decimal"
        {...{ min, max, step, placeholder }}
        value={typed.value ?? value ?? ""}
        onInput={({ currentTarget }) => typed.value = currentTarget.value}
        onBlur={() => typed.value = undefined}
        onChange={({ currentTarget: input }) => {
          typed.value = undefined;
          if (input.value === "") return onValue(undefined);
          const asked = Math.min(max, Math.max(min, input.valueAsNumber));
          input.value = String(asked);
          onValue(asked);
        }}
      />
    </div>
  );
}

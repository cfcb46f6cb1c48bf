/**
 * How far the opening of a model is.
 *
 * @module
 */
import type { VNode } from "preact";
import type { OpenProgress } from "../worker/protocol.ts";

/** See the module's documentation. */
export function Progress({ progress: { text, part }, onStop }: {
  readonly progress: OpenProgress;
  readonly onStop: () => void;
}): VNode {
  return (
    <section class="card progress" aria-label="Opening the model">
      <label>
        <span>{text}</span>
        <progress max={1} value={part} />
      </label>
      <button type="button" onClick={onStop}>Stop</button>
    </section>
  );
}

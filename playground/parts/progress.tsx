/// <reference lib="dom" />
/**
 * How far the opening of a model is.
 *
 * @module
 */
import { useEffect, useRef } from "preact/hooks";
import type { VNode } from "preact";
import type { OpenProgress } from "../worker/protocol.ts";

/** See the module's documentation. */
export function Progress({ progress: { text, part }, onStop }: {
  readonly progress: OpenProgress;
  readonly onStop: () => void;
}): VNode {
  const stop = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (document.activeElement === document.body) stop.current?.focus();
  }, []);
  return (
    <section class="card progress" aria-label="Opening the model">
      <label>
        <span>{text}</span>
        <progress max={1} value={part} />
      </label>
      <button ref={stop} type="button" onClick={onStop}>Stop</button>
    </section>
  );
}

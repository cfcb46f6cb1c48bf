/**
 * Lets other work of the process run between steps: a CPU device computes on the thread that serves requests.
 *
 * @module
 */

const immediate = (globalThis as { setImmediate?: (callback: () => void) => unknown }).setImmediate;

/** Resolves after pending input and timers had their turn; much shorter than a zero timeout. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => {
    if (immediate) {
      immediate(() => resolve());
      return;
    }
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** Milliseconds that work goes on before others have their turn. */
const sliceMs = 15;

/**
 * Calls a piece of work at a time; others have their turn between pieces.
 *
 * @throws the signal's reason, once others had their turn.
 */
export async function inSlices(work: Iterable<unknown>, signal?: AbortSignal): Promise<void> {
  let began = performance.now();
  for (const _ of work) {
    if (performance.now() - began < sliceMs) continue;
    await breathe();
    signal?.throwIfAborted();
    began = performance.now();
  }
}

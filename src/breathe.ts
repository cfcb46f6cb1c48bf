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

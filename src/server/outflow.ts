/**
 * Bodies of answers, as fast as they are read; a reader that stands still is cut off.
 *
 * @module
 */

/** How a body is made and ends. */
export interface OutflowOptions {
  /** The next bytes; undefined after the last. Called when the reader has room, one call at a time. */
  readonly next: () => Promise<Uint8Array | undefined>;
  /** Time after which a reader that takes nothing is cut off. */
  readonly readerMs: number;
  /** The last bytes for a reader that was cut off, if it goes on after all. */
  readonly lastWords?: Uint8Array;
  /** The reader went away, or was cut off. */
  readonly onLeave: () => void;
  /** Called once, however the body ends. */
  readonly onEnd: () => void;
}

/** A body that holds one chunk at a time. */
export function outflow(
  { next, readerMs, lastWords, onLeave, onEnd }: OutflowOptions,
): ReadableStream<Uint8Array> {
  // One timer goes on from chunk to chunk: starting and stopping one for each costs more than the chunk.
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** When the reader must have taken the last chunk, in ms; undefined while the next one is made. */
  let dueMs: number | undefined;
  let left = false;
  const leave = (): void => {
    if (left) return;
    left = true;
    clearTimeout(timer);
    onLeave();
    onEnd();
  };
  const check = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
    timer = undefined;
    if (left || dueMs === undefined) return;
    const restMs = dueMs - performance.now();
    if (restMs > 0) {
      timer = setTimeout(check, Math.ceil(restMs), controller);
      return;
    }
    leave();
    // Not an error: runtimes would print its stack, and tell the reader no more than an early end does.
    if (lastWords) controller.enqueue(lastWords);
    controller.close();
  };
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      dueMs = undefined;
      const chunk = await next();
      if (left) return;
      if (!chunk) {
        left = true;
        clearTimeout(timer);
        controller.close();
        return onEnd();
      }
      controller.enqueue(chunk);
      // Whoever was waiting for it may have left at that.
      if (left) return;
      dueMs = performance.now() + readerMs;
      timer ??= setTimeout(check, readerMs, controller);
    },
    cancel: leave,
  });
}

/**
 * Work that may take long, in steps: run through at once, or with pauses for other work of the thread.
 *
 * @module
 */
import { breathe } from "../../breathe.ts";

/** Long work: it stops at each `yield`, and returns its result. */
export type Steps<T> = Generator<undefined, T, void>;

/** Characters (UTF-16 units) or items that a step works on, about: less than a millisecond. */
export const stepSize = 1 << 13;

/** Milliseconds of work after which other work has its turn. */
const turnMs = 4;

/** The result of steps that run through at once. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/**
 * The result of steps that let other work of the thread run every few milliseconds.
 *
 * @throws the signal's reason once it is aborted.
 */
export async function finishInTurns<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  let begun = performance.now();
  for (;;) {
    signal?.throwIfAborted();
    const { done, value } = steps.next();
    if (done) return value;
    if (performance.now() - begun < turnMs) continue;
    await breathe();
    begun = performance.now();
  }
}

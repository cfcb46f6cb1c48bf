/**
 * Waiting for what must come, however long a busy machine takes: no test waits for a time.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";

/** One turn of the event loop: pending messages, input and timers have run. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** So many turns. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

/** Resolves once a condition holds; it is looked at once a turn, and the runner's own limit ends a test that hangs. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

/** Resolves once what is asked for again and again is as it must be. */
export async function untilEqual<T>(ask: () => Promise<T>, expected: T): Promise<void> {
  while (!isDeepStrictEqual(await ask(), expected)) await turn();
}

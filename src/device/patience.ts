/**
 * How a thread waits for another's number in shared memory: awake for a moment, since being woken costs both threads about as
 * much, and asleep after it, since another thread may need the processor.
 *
 * @module
 */

/** Milliseconds to wait awake. */
const patienceMs = 0.05;

/** Looks between two looks at the clock. */
const looks = 64;

/** Tells the processor that this is a wait, where the runtime can. */
const pause = (Atomics as { readonly pause?: () => void }).pause ?? ((): void => {});

/** Waits awake until a number is no longer `value`; false where it still is. */
export function waitBriefly(numbers: Int32Array, index: number, value: number): boolean {
  const begin = performance.now();
  do {
    for (let i = 0; i < looks; i++) {
      if (Atomics.load(numbers, index) !== value) return true;
      pause();
    }
  } while (performance.now() - begin < patienceMs);
  return false;
}

/**
 * Milliseconds that a thread sleeps at most. A runtime that ends a thread at the moment that it falls asleep may leave it
 * asleep, and wait for its end for ever: a thread that wakes now and then ends.
 */
const sleepMs = 1000;

/** Sleeps until a notice comes for a number; also ends where the number is no longer `value`, and after a second. */
export function sleepOn(numbers: Int32Array, index: number, value: number): void {
  Atomics.wait(numbers, index, value, sleepMs);
}

/**
 * When askers hear of their sequences' tokens.
 *
 * Telling costs a host more than a step's share of a token: text, an event, a write. Where many sequences run fast, tokens
 * wait for those that follow, for a time that no reader sees, and are told together.
 *
 * @module
 */
import type { Sequence } from "./schedule.ts";

/** Tokens wait so long at most. */
const mostMs = 50;

/** See the module's documentation. */
export class Telling {
  readonly #held = new Set<Sequence>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Between two bursts of a sequence, as so many sequences run. */
  #betweenMs = 0;

  /**
   * @param mostPerSecond Bursts of all sequences in a second.
   * @throws RangeError unless it is above 0.
   */
  constructor(private readonly mostPerSecond = Infinity) {
    if (mostPerSecond > 0) return;
    throw new RangeError(
      `Cannot open an engine with maxBurstsPerSecond ${mostPerSecond}: it must be a number above 0`,
    );
  }

  /** Tells a sequence's asker of its tokens: now, or with those that follow soon. */
  tell(sequence: Sequence, running: number): void {
    if (this.mostPerSecond === Infinity || sequence.request.eager) {
      sequence.wake();
      return;
    }
    const nowMs = performance.now();
    const { dueMs = 0 } = sequence;
    if (nowMs < dueMs) {
      this.#held.add(sequence);
      this.#timer ??= setTimeout(() => this.#tellDue(), Math.ceil(dueMs - nowMs));
      return;
    }
    this.#betweenMs = Math.min(mostMs, 1000 * running / this.mostPerSecond);
    this.#tellNow(sequence, nowMs);
  }

  #tellNow(sequence: Sequence, nowMs: number): void {
    sequence.dueMs = nowMs + this.#betweenMs;
    this.#held.delete(sequence);
    sequence.wake();
  }

  /** Tells a sequence's asker of its end, and of the tokens before. */
  end(sequence: Sequence): void {
    this.#held.delete(sequence);
    sequence.wake();
  }

  /** Those whose tokens no other token follows in time. */
  #tellDue(): void {
    this.#timer = undefined;
    const nowMs = performance.now();
    let nextMs = Infinity;
    for (const sequence of this.#held) {
      const { dueMs = 0 } = sequence;
      if (nowMs < dueMs) nextMs = Math.min(nextMs, dueMs);
      else this.#tellNow(sequence, nowMs);
    }
    if (this.#held.size > 0) this.#timer = setTimeout(() => this.#tellDue(), Math.ceil(nextMs - nowMs));
  }
}

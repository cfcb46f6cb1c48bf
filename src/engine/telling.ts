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

/** Time, in ms. */
export interface Clock {
  now(): number;
  /** Calls once so many ms have passed. */
  after(ms: number, call: () => void): void;
}

const systemClock: Clock = { now: () => performance.now(), after: (ms, call) => void setTimeout(call, ms) };

/** See the module's documentation. */
export class Telling {
  readonly #held = new Set<Sequence>();
  /** Whether the clock will call. */
  #isTimed = false;
  /** Between two bursts of a sequence, as so many sequences run. */
  #betweenMs = 0;

  /**
   * @param mostPerSecond Bursts of all sequences in a second.
   * @throws RangeError unless it is above 0.
   */
  constructor(private readonly mostPerSecond = Infinity, private readonly clock = systemClock) {
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
    const nowMs = this.clock.now();
    const { dueMs = 0 } = sequence;
    if (nowMs < dueMs) {
      this.#held.add(sequence);
      if (!this.#isTimed) this.#callAfter(dueMs - nowMs);
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

  #callAfter(ms: number): void {
    this.#isTimed = true;
    this.clock.after(Math.ceil(ms), () => this.#tellDue());
  }

  /** Those whose tokens no other token follows in time. */
  #tellDue(): void {
    this.#isTimed = false;
    const nowMs = this.clock.now();
    let nextMs = Infinity;
    for (const sequence of this.#held) {
      const { dueMs = 0 } = sequence;
      if (nowMs < dueMs) nextMs = Math.min(nextMs, dueMs);
      else this.#tellNow(sequence, nowMs);
    }
    if (this.#held.size > 0) this.#callAfter(nextMs - nowMs);
  }
}

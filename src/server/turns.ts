/**
 * Turns for heavy work: some at once, some waiting, no more.
 *
 * @module
 */
import { OverloadedError } from "../errors.ts";

interface Waiter {
  readonly start: () => void;
}

/** A queue in which each piece of work waits for its turn, first come first. */
export class Turns {
  #running = 0;
  readonly #waiting: Waiter[] = [];

  constructor(private readonly limits: { readonly atOnce: number; readonly waiting: number }) {}

  /** Pieces of work running and waiting now. */
  get load(): { readonly running: number; readonly waiting: number } {
    return { running: this.#running, waiting: this.#waiting.length };
  }

  /**
   * Runs `work` when its turn comes.
   *
   * @throws OverloadedError when too many wait; the signal's reason when it is aborted before the turn.
   */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    if (this.#running < this.limits.atOnce) this.#running++;
    else await this.#wait(signal);
    try {
      signal.throwIfAborted();
      return await work();
    } finally {
      // A waiter takes the turn over, so that nobody comes between.
      const next = this.#waiting.shift();
      if (next) next.start();
      else this.#running--;
    }
  }

  #wait(signal: AbortSignal): Promise<void> {
    if (this.#waiting.length >= this.limits.waiting) {
      throw new OverloadedError(
        `Cannot queue this request: ${this.#waiting.length} wait for their turn already`,
      );
    }
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(signal.reason);
      };
      const waiter: Waiter = {
        start: () => {
          signal.removeEventListener("abort", leave);
          resolve();
        },
      };
      this.#waiting.push(waiter);
      signal.addEventListener("abort", leave, { once: true });
    });
  }
}

/**
 * Memory that requests hold together, counted.
 *
 * @module
 */
import { OverloadedError } from "../errors.ts";

/** One request's share of a budget. */
export interface Hold {
  /**
   * Takes more.
   *
   * @throws OverloadedError when the budget has not as much left: waiting would keep what others wait for.
   */
  take(bytes: number): void;
  /** Gives some of it back. */
  give(bytes: number): void;
  /** Gives all of it back; harmless twice. */
  free(): void;
}

/** A number of bytes that all holds share. */
export class MemoryBudget {
  #used = 0;

  constructor(readonly bytes: number) {}

  /** Bytes that are held now. */
  get used(): number {
    return this.#used;
  }

  /** A hold on nothing yet. */
  hold(): Hold {
    let held = 0;
    const give = (bytes: number): void => {
      const given = Math.min(bytes, held);
      held -= given;
      this.#used -= given;
    };
    return {
      take: (bytes) => {
        if (this.#used + bytes > this.bytes) {
          throw new OverloadedError(
            `Cannot take ${bytes} more bytes for this request: ` +
              `${this.#used} of the ${this.bytes} for all requests are in use`,
          );
        }
        held += bytes;
        this.#used += bytes;
      },
      give,
      free: () => give(held),
    };
  }
}

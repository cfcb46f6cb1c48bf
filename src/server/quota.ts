/**
 * What one tenant may use in a minute, and at once.
 *
 * @module
 */
import { QuotaError } from "./errors.ts";

/** Bounds of a quota; absent: none. */
export interface QuotaLimits {
  readonly requestsPerMinute?: number;
  readonly tokensPerMinute?: number;
  readonly maxConcurrent?: number;
}

/** Time in milliseconds that never goes back, whatever the machine's clock does. */
export type Clock = () => number;

const minuteMs = 60_000;

/** A bucket that fills at an even rate up to a minute's worth, and may owe. */
class Bucket {
  #left: number;
  #atMs: number;

  constructor(private perMinute: number, private readonly clock: Clock) {
    this.#left = perMinute;
    this.#atMs = clock();
  }

  /** Sets another rate; a debt stays. */
  limit(perMinute: number): void {
    this.#fill();
    this.perMinute = perMinute;
    this.#left = Math.min(this.#left, perMinute);
  }

  #fill(): void {
    const now = this.clock();
    this.#left = Math.min(this.perMinute, this.#left + (now - this.#atMs) * this.perMinute / minuteMs);
    this.#atMs = now;
  }

  /** Milliseconds until it holds `least`; 0 when it does. */
  wait(least: number): number {
    this.#fill();
    return this.#left >= least ? 0 : (least - this.#left) * minuteMs / this.perMinute;
  }

  take(amount: number): void {
    this.#fill();
    this.#left -= amount;
  }
}

/** A request that a quota let in. */
export interface Admission {
  /** Counts tokens of its prompt or its answer; less than 0 gives back tokens of a prompt that was not read. */
  use(tokens: number): void;
  /** It is over; harmless twice. */
  end(): void;
}

/** The use of one tenant. */
export class Quota {
  #requests: Bucket | undefined;
  #tokens: Bucket | undefined;
  #maxConcurrent = Infinity;
  #open = 0;

  constructor(private readonly clock: Clock = () => performance.now()) {}

  /** Requests that are open now. */
  get open(): number {
    return this.#open;
  }

  /** Sets the bounds; what was used counts on. */
  limit({ requestsPerMinute, tokensPerMinute, maxConcurrent = Infinity }: QuotaLimits): void {
    this.#requests = this.#limited(this.#requests, requestsPerMinute);
    this.#tokens = this.#limited(this.#tokens, tokensPerMinute);
    this.#maxConcurrent = maxConcurrent;
  }

  #limited(bucket: Bucket | undefined, perMinute: number | undefined): Bucket | undefined {
    if (perMinute === undefined) return undefined;
    bucket?.limit(perMinute);
    return bucket ?? new Bucket(perMinute, this.clock);
  }

  /**
   * Lets a request in.
   *
   * @throws QuotaError that says when to ask again.
   */
  admit(): Admission {
    if (this.#open >= this.#maxConcurrent) {
      throw new QuotaError(
        `Cannot take another request of this tenant: ${this.#open} are open, its maxConcurrent is ${this.#maxConcurrent}`,
        { waitMs: 0 },
      );
    }
    this.#check(this.#tokens, 1, "tokensPerMinute");
    this.#check(this.#requests, 1, "requestsPerMinute");
    this.#requests?.take(1);
    this.#open++;
    let ended = false;
    return {
      use: (tokens) => this.#tokens?.take(tokens),
      end: () => {
        if (!ended) this.#open--;
        ended = true;
      },
    };
  }

  #check(bucket: Bucket | undefined, least: number, name: string): void {
    const waitMs = bucket?.wait(least) ?? 0;
    if (waitMs > 0) {
      throw new QuotaError(`Cannot take another request of this tenant: its ${name} are used up`, { waitMs });
    }
  }
}

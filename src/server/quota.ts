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

/** The bounds that servers may count together; `maxConcurrent` is each server's own. */
export type SharedLimits = Pick<QuotaLimits, "requestsPerMinute" | "tokensPerMinute">;

/** What shared counts say of one more request; `usedUp` names the bound that has no room, for `waitMs` more. */
export interface SharedAnswer {
  readonly usedUp?: keyof SharedLimits;
  readonly waitMs: number;
}

/** Requests and tokens of tenants as several servers count them together. */
export interface SharedCounts {
  /** Servers that count together as far as is known, this one among them. */
  readonly servers: number;
  /**
   * Takes a request of a tenant where its bounds have room.
   *
   * @returns Soon, whatever the place of the counts does; undefined where they cannot be asked.
   */
  take(tenant: string, limits: SharedLimits): Promise<SharedAnswer | undefined>;
  /**
   * Counts tokens of a tenant; less than 0 gives tokens back.
   *
   * @returns Whether they are counted; they are not where the counts cannot be reached.
   */
  use(tenant: string, limits: SharedLimits, tokens: number): boolean;
}

/** Time in milliseconds that never goes back, whatever the machine's clock does. */
export type Clock = () => number;

const minuteMs = 60_000;

/** A bucket that fills at an even rate up to a minute's worth, at least to one, and may owe. */
class Bucket {
  #left: number;
  #atMs: number;

  constructor(private perMinute: number, private readonly clock: Clock) {
    this.#left = this.#most;
    this.#atMs = clock();
  }

  /** A share of a quota may be less than one a minute: one request must find room all the same. */
  get #most(): number {
    return Math.max(1, this.perMinute);
  }

  /** Sets another rate; a debt stays. */
  limit(perMinute: number): void {
    this.#fill();
    this.perMinute = perMinute;
    this.#left = Math.min(this.#left, this.#most);
  }

  #fill(): void {
    const now = this.clock();
    this.#left = Math.min(this.#most, this.#left + (now - this.#atMs) * this.perMinute / minuteMs);
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
  #limits: QuotaLimits = {};
  #requests: Bucket | undefined;
  #tokens: Bucket | undefined;
  #open = 0;

  /** @param shared Counts that several servers share, and the tenant's name in them. */
  constructor(
    private readonly clock: Clock = () => performance.now(),
    private readonly shared?: { readonly counts: SharedCounts; readonly tenant: string },
  ) {}

  /** Requests that are open now. */
  get open(): number {
    return this.#open;
  }

  /** Sets the bounds; what was used counts on. */
  limit(limits: QuotaLimits): void {
    this.#limits = limits;
    this.#limitOwn(1);
  }

  /** Gives this server's own buckets a part of the bounds. */
  #limitOwn(servers: number): void {
    const { requestsPerMinute, tokensPerMinute } = this.#limits;
    this.#requests = this.#limited(this.#requests, requestsPerMinute && requestsPerMinute / servers);
    this.#tokens = this.#limited(this.#tokens, tokensPerMinute && tokensPerMinute / servers);
  }

  #limited(bucket: Bucket | undefined, perMinute: number | undefined): Bucket | undefined {
    if (perMinute === undefined) return undefined;
    bucket?.limit(perMinute);
    return bucket ?? new Bucket(perMinute, this.clock);
  }

  /**
   * Lets a request in, by this server's own counts.
   *
   * @throws QuotaError that says when to ask again.
   */
  admit(): Admission {
    this.#checkOpen();
    this.#takeOwn();
    this.#open++;
    return this.#admission();
  }

  /**
   * Lets a request in by the counts that servers share; where they cannot be asked, by this server's part of the bounds.
   *
   * @throws as {@linkcode admit}.
   */
  async ask(): Promise<Admission> {
    const { shared } = this, limits = this.#limits;
    const isCounted = limits.requestsPerMinute !== undefined || limits.tokensPerMinute !== undefined;
    if (!shared || !isCounted) return this.admit();
    this.#checkOpen();
    // Whoever asks before the counts have answered must see this request.
    this.#open++;
    try {
      const answer = await shared.counts.take(shared.tenant, limits);
      if (answer?.usedUp !== undefined) throw usedUp(answer.usedUp, answer.waitMs);
      if (!answer) {
        this.#limitOwn(shared.counts.servers);
        this.#takeOwn();
      }
    } catch (error) {
      this.#open--;
      throw error;
    }
    return this.#admission();
  }

  #admission(): Admission {
    let ended = false;
    return {
      use: (tokens) => this.#use(tokens),
      end: () => {
        if (!ended) this.#open--;
        ended = true;
      },
    };
  }

  #use(tokens: number): void {
    if (this.#limits.tokensPerMinute === undefined) return;
    const { shared } = this;
    if (!shared?.counts.use(shared.tenant, this.#limits, tokens)) this.#tokens?.take(tokens);
  }

  #checkOpen(): void {
    const { maxConcurrent = Infinity } = this.#limits;
    if (this.#open < maxConcurrent) return;
    throw new QuotaError(
      `Cannot take another request of this tenant: ${this.#open} are open, its maxConcurrent is ${maxConcurrent}`,
      { waitMs: 0 },
    );
  }

  #takeOwn(): void {
    check(this.#tokens, "tokensPerMinute");
    check(this.#requests, "requestsPerMinute");
    this.#requests?.take(1);
  }
}

function check(bucket: Bucket | undefined, name: keyof SharedLimits): void {
  const waitMs = bucket?.wait(1) ?? 0;
  if (waitMs > 0) throw usedUp(name, waitMs);
}

function usedUp(name: keyof SharedLimits, waitMs: number): QuotaError {
  return new QuotaError(`Cannot take another request of this tenant: its ${name} are used up`, { waitMs });
}

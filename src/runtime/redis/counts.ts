/**
 * Use of tenants that several servers count together, in Redis.
 *
 * @module
 */
import type { SharedAnswer, SharedCounts, SharedLimits } from "../../server/quota.ts";
import { type Link, prefix } from "./link.ts";

/** Tokens of many steps go to Redis together, after so long at most. */
const gatherMs = 50;

const bounds = [undefined, "tokensPerMinute", "requestsPerMinute"] as const;

interface Used {
  readonly tokens: number;
  readonly limits: SharedLimits;
}

/** See the module's documentation. */
export class RedisCounts implements SharedCounts {
  /** Tokens by tenant that Redis has not counted yet. */
  readonly #used = new Map<string, Used>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Requests that were let in or refused by this server's part alone. */
  alone = 0;

  constructor(private readonly link: Link) {
    link.onUp(() => this.#send());
  }

  get servers(): number {
    return this.link.servers;
  }

  async take(tenant: string, limits: SharedLimits): Promise<SharedAnswer | undefined> {
    const answer = await this.#count(tenant, limits, true);
    if (answer) return answer;
    this.alone++;
    return undefined;
  }

  use(tenant: string, limits: SharedLimits, tokens: number): boolean {
    if (!this.link.isUp) return false;
    this.#gather(tenant, { tokens, limits });
    this.#timer ??= setTimeout(() => this.#send(), gatherMs);
    return true;
  }

  /** Tokens are counted once more where Redis counted them and its answer was late: that is on the safe side. */
  #gather(tenant: string, { tokens, limits }: Used): void {
    this.#used.set(tenant, { tokens: (this.#used.get(tenant)?.tokens ?? 0) + tokens, limits });
  }

  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [tenant, { limits }] of [...this.#used]) void this.#count(tenant, limits, false);
  }

  /** Tells Redis of used tokens, and takes a request where one is wanted. */
  async #count(tenant: string, limits: SharedLimits, takes: boolean): Promise<SharedAnswer | undefined> {
    const { requestsPerMinute = "", tokensPerMinute = "" } = limits;
    const used = this.#used.get(tenant);
    this.#used.delete(tenant);
    const args = [requestsPerMinute, tokensPerMinute, used?.tokens ?? 0, takes ? "1" : "0"];
    const found = await this.link.call((redis) => redis.countUse(`${prefix}quota:${tenant}`, ...args));
    if (found) return { usedUp: bounds[found[0]], waitMs: found[1] };
    if (used) this.#gather(tenant, used);
    return undefined;
  }
}

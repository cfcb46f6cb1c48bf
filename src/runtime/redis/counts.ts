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
    link.onUp(() => void this.#send());
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
    this.#timer ??= setTimeout(() => void this.#send(), gatherMs);
    return true;
  }

  /** Sends what is left. */
  async close(): Promise<void> {
    await this.#send();
  }

  #gather(tenant: string, { tokens, limits }: Used): void {
    this.#used.set(tenant, { tokens: (this.#used.get(tenant)?.tokens ?? 0) + tokens, limits });
  }

  async #send(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await Promise.all([...this.#used].map(([tenant, { limits }]) => this.#count(tenant, limits, false)));
  }

  /** Tells Redis of used tokens, and takes a request where one is wanted. */
  async #count(tenant: string, limits: SharedLimits, takes: boolean): Promise<SharedAnswer | undefined> {
    // Nothing is sent, so that what was used stays for later.
    if (!this.link.isUp) return undefined;
    const { requestsPerMinute = "", tokensPerMinute = "" } = limits;
    const used = this.#used.get(tenant);
    this.#used.delete(tenant);
    const args = [requestsPerMinute, tokensPerMinute, used?.tokens ?? 0, takes ? "1" : "0"];
    const found = await this.link.call((redis) => redis.countUse(`${prefix}quota:${tenant}`, ...args));
    if (found) return { usedUp: bounds[found[0]], waitMs: found[1] };
    // Redis may have counted the tokens, though its answer was late: used tokens are sent again, given ones are not.
    if (used && used.tokens > 0) this.#gather(tenant, used);
    return undefined;
  }
}

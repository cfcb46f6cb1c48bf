/**
 * One request and its answer, from the first header to the last byte: who asks, and what is counted of it.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import type { Admission } from "./quota.ts";
import type { Tenant } from "./tenants.ts";

/** What a log line says of a request that is over. */
export interface RequestRecord {
  /** The `x-request-id` of the request, or a new one where it has none. */
  readonly requestId: string;
  readonly method: string;
  /** The route's pattern, e.g. `/v1/adapters/:id/delta`; undefined where there is no such route. */
  readonly route?: string;
  readonly status: number;
  /** Seconds from the request to the end of its answer. */
  readonly seconds: number;
  /** Seconds from the request to the first new token; absent where there was none. */
  readonly firstTokenSeconds?: number;
  readonly tenant?: string;
  /** The model or adapter that the answer names. */
  readonly model?: string;
  readonly promptTokens: number;
  readonly newTokens: number;
  /** The error's code, or its type where it has no code. */
  readonly error?: string;
}

/** Takes what happens in exchanges; the server's metrics do. */
export interface ExchangeObserver {
  /** New tokens came, so many seconds after those before; the first ones after the request. */
  tokens?(count: number, options: { readonly seconds: number; readonly first: boolean }): void;
  /** An exchange is over. */
  ended?(record: RequestRecord): void;
}

/** See the module's documentation. */
export class Exchange {
  tenant: Tenant | undefined;
  /** Whether an operator's token came with it. */
  operator = false;
  route: string | undefined;
  model: string | undefined;
  error: string | undefined;
  #promptTokens = 0;
  #newTokens = 0;
  /** New tokens that were made, taken or not, and those that the quota counts. */
  #made = 0;
  #charged = 0;
  #firstTokenSeconds: number | undefined;
  #lastTokensMs: number;
  #status: number | undefined;
  #working = false;
  #ended = false;
  #admission: Admission | undefined;
  /** When the request came, in ms by `performance.now()`. */
  readonly beganMs = performance.now();

  constructor(
    readonly requestId: string,
    private readonly method: string,
    private readonly observers: readonly ExchangeObserver[],
  ) {
    this.#lastTokensMs = this.beganMs;
  }

  /**
   * Its work begins; the answer ends when that does.
   *
   * @throws QuotaError when its tenant has used up the quota.
   */
  async begin(): Promise<void> {
    this.#admission = await this.tenant?.quota.ask();
    this.#working = true;
  }

  /** Counts a prompt that is to be run. */
  prompt(tokens: number): void {
    this.#promptTokens += tokens;
    this.#admission?.use(tokens);
  }

  /** Its prompts were not read: nothing is counted of them. */
  refused(): void {
    this.#admission?.use(-this.#promptTokens);
    this.#promptTokens = 0;
  }

  /** Counts a new token that was made: its work is done, whether or not anybody reads it. */
  made(): void {
    this.#charge(++this.#made);
  }

  #charge(tokens: number): void {
    if (tokens <= this.#charged) return;
    this.#admission?.use(tokens - this.#charged);
    this.#charged = tokens;
  }

  /** Counts new tokens as they are given out. */
  tokens(count: number): void {
    if (count === 0) return;
    const now = performance.now();
    const first = this.#newTokens === 0;
    if (first) this.#firstTokenSeconds = (now - this.beganMs) / 1000;
    this.#newTokens += count;
    this.#charge(this.#newTokens);
    const seconds = (now - this.#lastTokensMs) / 1000;
    for (const observer of this.observers) observer.tokens?.(count, { seconds, first });
    this.#lastTokensMs = now;
  }

  /** Its work is over; harmless twice. */
  end(): void {
    this.#working = false;
    this.#admission?.end();
    if (this.#status !== undefined) this.#finish(this.#status);
  }

  /** Its headers are sent. */
  answered(status: number): void {
    this.#status = status;
    if (!this.#working) this.#finish(status);
  }

  #finish(status: number): void {
    if (this.#ended) return;
    this.#ended = true;
    const record: RequestRecord = {
      requestId: this.requestId,
      method: this.method,
      route: this.route,
      status,
      seconds: (performance.now() - this.beganMs) / 1000,
      firstTokenSeconds: this.#firstTokenSeconds,
      tenant: this.tenant?.id,
      model: this.model,
      promptTokens: this.#promptTokens,
      newTokens: this.#newTokens,
      error: this.error,
    };
    for (const observer of this.observers) observer.ended?.(record);
  }
}

/** What the routes' context carries. */
export interface ServerEnv {
  Variables: { exchange: Exchange };
}

/** A context of the server's own routes and guards. */
export type ServerContext = Context<ServerEnv>;

/** An id that a caller may give: nothing in it can break a line of a log or a header. */
const requestIdRule = /^[\x21-\x7e]{1,128}$/;

function requestIdOf(c: ServerContext): string {
  const given = c.req.header("x-request-id");
  return given !== undefined && requestIdRule.test(given) ? given : crypto.randomUUID();
}

/** Opens an exchange for each request, names its id in the answer, and tells the observers of its end. */
export function exchanges(observers: readonly ExchangeObserver[]): MiddlewareHandler<ServerEnv> {
  return async (c, next) => {
    const exchange = new Exchange(requestIdOf(c), c.req.method, observers);
    c.set("exchange", exchange);
    await next();
    c.header("x-request-id", exchange.requestId);
    exchange.answered(c.res.status);
  };
}

/**
 * A connection to Redis that nobody waits for longer than a moment. Where a call fails, none is made until Redis has
 * answered again.
 *
 * The package `ioredis` is imported when a link is opened: who has no Redis installs none.
 *
 * @module
 */
import type { Redis, RedisOptions } from "ioredis";
import { ConfigError } from "../../errors.ts";
import { hearErrors } from "./errors.ts";
import { quotaScript, serversScript } from "./scripts.ts";

/** A client with the scripts as commands. */
export type Commands = Redis & {
  countUse(key: string, ...args: (string | number)[]): Promise<[number, number]>;
  countServers(key: string, server: string, lastMs: number): Promise<number>;
};

/** Milliseconds that a connection may take to open, and to close. */
const connectMs = 2000, disconnectMs = 100;
/** Redis is asked so often whether it is there; a server counts for so long after it last said that it is. */
const lookMs = 1000, countedMs = 10_000;
/** Between tries to connect. */
const retryMs = 500;

/** Names of keys begin with this: servers that are to share nothing use other databases of Redis, or other Redis. */
export const prefix = "fourierft:";

/** How a link is opened. */
export interface LinkOptions {
  /** This server's name among others. */
  readonly server: string;
  readonly log: (line: string) => void;
  /** Milliseconds that a call may take. */
  readonly timeoutMs: number;
  /** Whether others count it among the servers. */
  readonly joins: boolean;
}

/** What `work` gives, if that takes no longer. A thread that was busy reads what has come before it gives up. */
export async function soon<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const giveUp = (): void => reject(new Error(`no answer in ${ms} ms`));
    timer = setTimeout(() => setImmediate(() => setImmediate(giveUp)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Opens a connection anew that is open and does not answer: it may be one to nobody. */
export class Renewal {
  #before = "";

  constructor(private readonly redis: Redis) {}

  /** A call has failed. A connection that opens has time until the next one does. */
  failed(): void {
    const { status } = this.redis;
    if (status === "ready" || (status === "connect" && this.#before === "connect")) {
      this.redis.disconnect(true);
    }
    this.#before = status;
  }
}

/** Refuses what is no address; messages show none of the address, which may hold a password. */
function checkUrl(url: string): void {
  const { protocol, pathname } = URL.canParse(url) ? new URL(url) : { protocol: "", pathname: "" };
  if (!["redis:", "rediss:"].includes(protocol)) {
    throw new ConfigError("Cannot use Redis: its address must be a URL that begins with redis: or rediss:");
  }
  if (/^(\/\d*)?$/.test(pathname)) return;
  throw new ConfigError("Cannot use Redis: its address may end with a database, which must be a number");
}

type ClientClass = new (url: string, options: RedisOptions) => Redis;

async function clientClass(): Promise<ClientClass> {
  try {
    // The name is no literal: bundlers and type checks of users without the package pass over it.
    const name = "ioredis";
    return (await import(name) as { readonly Redis: ClientClass }).Redis;
  } catch (error) {
    throw new ConfigError(
      "Cannot use Redis: it needs a package that cannot be imported; npm install ioredis",
      {
        cause: error,
      },
    );
  }
}

/** See the module's documentation. */
export class Link {
  #up = false;
  #told = false;
  #servers = 1;
  #looking = false;
  #closed = false;
  /** Why connections are refused. */
  #refused: Error | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  readonly #onUp: (() => void)[] = [];

  readonly #renewal: Renewal;

  private constructor(private readonly redis: Commands, private readonly options: LinkOptions) {
    this.#renewal = new Renewal(redis);
    hearErrors(redis, (error) => this.#refused ??= error);
    redis.on("ready", () => this.#refused = undefined);
  }

  /**
   * Opens a link, and waits for Redis for a moment. A Redis that is not there is looked for again and again.
   *
   * @throws ConfigError for what is no URL of Redis, for a password or a database that Redis refuses, and where the
   * package is missing.
   */
  static async open(url: string, options: LinkOptions): Promise<Link> {
    checkUrl(url);
    const Client = await clientClass();
    const redis = new Client(url, {
      ...{ lazyConnect: true, enableOfflineQueue: false, maxRetriesPerRequest: 0 },
      ...{ connectTimeout: connectMs, disconnectTimeout: disconnectMs, retryStrategy: () => retryMs },
      autoResendUnfulfilledCommands: false,
      scripts: {
        countUse: { lua: quotaScript, numberOfKeys: 1 },
        countServers: { lua: serversScript, numberOfKeys: 1 },
      },
    }) as Commands;
    const link = new Link(redis, options);
    await soon(redis.connect(), connectMs).catch(() => {});
    if (link.#refused) {
      await link.close();
      throw new ConfigError(`Cannot use Redis: it refuses the connection: ${link.#refused.message}`);
    }
    await link.#look();
    link.#timer = setInterval(() => void link.#look(), lookMs);
    // Deno's timers are numbers.
    (link.#timer as { unref?: () => void }).unref?.();
    return link;
  }

  /** Whether Redis answered the last call. */
  get isUp(): boolean {
    return this.#up;
  }

  /** Servers that were there when Redis last answered, at least this one. */
  get servers(): number {
    return this.#servers;
  }

  /** Calls `work` whenever Redis is there again. */
  onUp(work: () => void): void {
    this.#onUp.push(work);
  }

  /** Makes a call, which takes a moment at most; undefined where Redis is away. */
  async call<T>(work: (redis: Commands) => Promise<T>): Promise<T | undefined> {
    if (!this.#up) return undefined;
    try {
      return await soon(work(this.redis), this.options.timeoutMs);
    } catch (error) {
      this.#fell(error as Error);
      return undefined;
    }
  }

  /** A connection of its own, for calls that wait. */
  async another(): Promise<Redis> {
    const redis = this.redis.duplicate();
    hearErrors(redis);
    await soon(redis.connect(), connectMs).catch(() => {});
    return redis;
  }

  /** Leaves: other servers count this one no longer. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closed = true;
    if (this.options.joins) {
      await this.call((redis) => redis.zrem(`${prefix}servers`, this.options.server));
    }
    this.#up = false;
    this.redis.disconnect();
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const { timeoutMs } = this.options, counted = this.#count();
    try {
      // A Redis that answers later than a call may take is of no use to calls.
      await soon(counted, timeoutMs);
      this.#rose();
    } catch (error) {
      this.#fell(error as Error);
      // Where Redis is only slow, a new connection is no faster.
      await soon(counted, Math.max(0, lookMs - timeoutMs)).catch(() => this.#renewal.failed());
    } finally {
      this.#looking = false;
    }
  }

  async #count(): Promise<void> {
    const { joins, server } = this.options;
    if (joins) this.#servers = await this.redis.countServers(`${prefix}servers`, server, countedMs);
    else await this.redis.ping();
  }

  #rose(): void {
    if (this.#up || this.#closed) return;
    this.#up = true;
    if (this.#told) {
      this.options.log("Redis answers again: quotas are shared, and servers tell each other of adapters");
    }
    this.#told = false;
    for (const work of this.#onUp) work();
  }

  #fell(error: Error): void {
    this.#up = false;
    if (this.#told || this.#closed) return;
    this.#told = true;
    const { message } = this.redis.status === "ready" ? error : this.#refused ?? new Error("no connection");
    const part = this.#servers > 1
      ? `a part in ${this.#servers} of each quota`
      : "each quota as if it were alone";
    this.options.log(
      `Redis does not answer: this server grants ${part}, and sees changed adapters when it next looks: ${message}`,
    );
  }
}

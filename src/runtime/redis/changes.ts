/**
 * Changes of adapters that servers tell each other of, by a stream in Redis. A server that was cut off reads what it has
 * missed; the stream keeps the last 10,000 changes.
 *
 * All servers end with the change of a name that stands last in the stream. A server makes its own changes at once: others'
 * of the same name that stand before its own are passed over.
 *
 * @module
 */
import type { Redis } from "ioredis";
import { type AdapterChange, changeOf } from "../../adapters/change.ts";
import { type Link, prefix, Renewal, soon } from "./link.ts";

const stream = `${prefix}adapters`, kept = 10_000;

/** Changes that wait for Redis at most. */
const mostWaiting = 1000;

/** A read waits so long for changes; one that takes longer is given up. */
const blockMs = 2000, silentMs = 5000;
const retryMs = 500;

type Entry = [id: string, fields: string[]];

/** Changes of one name that a server told. */
interface Own {
  readonly count: number;
  /** The last that Redis has answered. */
  readonly sentId?: string;
}

/** Whether an id of a stream is later than another. */
function isLater(a: string, b: string): boolean {
  const [[ams, aseq], [bms, bseq]] = [a, b].map((id) => id.split("-").map(Number));
  return ams > bms || (ams === bms && aseq > bseq);
}

/** How changes are told and heard. */
export interface ChangesOptions {
  readonly server: string;
  readonly log: (line: string) => void;
}

/** See the module's documentation. */
export class RedisChanges {
  readonly #waiting: AdapterChange[] = [];
  /** This server's changes by name that it has not read in the stream yet. */
  readonly #own = new Map<string, Own>();
  #sending: Promise<void> | undefined;
  #reader: Redis | undefined;
  #closed = false;
  /** The last change that was read; undefined until the stream was seen. */
  #last: string | undefined;

  constructor(private readonly link: Link, private readonly options: ChangesOptions) {
    link.onUp(() => void this.#send());
  }

  /** Tells other servers of a change, when Redis is next there. */
  tell(change: AdapterChange): void {
    this.#waiting.push(change);
    const own = this.#own.get(change.name);
    this.#own.set(change.name, { ...own, count: (own?.count ?? 0) + 1 });
    if (this.#waiting.length > mostWaiting) {
      const lost = this.#waiting.shift()!;
      this.#ownRead(lost.name);
      this.options.log(
        `no other server is told that adapter "${lost.name}" is ${lost.kind}: too many changes wait`,
      );
    }
    void this.#send();
  }

  /** Whether every change was told. */
  async told(): Promise<boolean> {
    await this.#send();
    return this.#waiting.length === 0;
  }

  /** Calls `follow` with each change of other servers, one after the other; a failure is logged. */
  async listen(follow: (change: AdapterChange) => Promise<void>): Promise<void> {
    const reader = this.#reader = await this.link.another();
    // The changes of before are in what the server finds in its store.
    await soon(this.#begin(reader), silentMs).catch(() => {});
    void this.#read(reader, follow);
  }

  close(): void {
    this.#closed = true;
    this.#reader?.disconnect();
  }

  async #send(): Promise<void> {
    await (this.#sending ??= this.#sendAll().finally(() => this.#sending = undefined));
  }

  async #sendAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const change = this.#waiting[0], { kind, name } = change;
      const source = change.kind === "loaded" ? ["source", change.source] : [];
      const fields = ["server", this.options.server, "kind", kind, "name", name, ...source];
      const id = await this.link.call((redis) => redis.xadd(stream, "MAXLEN", "~", kept, "*", ...fields));
      if (id === undefined) return;
      const own = this.#own.get(name);
      if (own) this.#own.set(name, { ...own, sentId: id! });
      // Many may have come meanwhile, so that this one was dropped.
      if (this.#waiting[0] === change) this.#waiting.shift();
    }
  }

  /** Finds the end of the stream, or that the stream is another one: then all of it is new. */
  async #begin(reader: Redis): Promise<void> {
    const [newest] = await reader.xrevrange(stream, "+", "-", "COUNT", 1);
    const end = newest?.[0] ?? "0-0";
    if (this.#last === undefined) this.#last = end;
    else if (isLater(this.#last, end)) this.#last = "0-0";
  }

  async #read(reader: Redis, follow: (change: AdapterChange) => Promise<void>): Promise<void> {
    const renewal = new Renewal(reader);
    let isCut = true;
    while (!this.#closed) {
      try {
        if (isCut) await soon(this.#begin(reader), silentMs);
        isCut = false;
        const reading = reader.xread("COUNT", 100, "BLOCK", blockMs, "STREAMS", stream, this.#last!);
        const found = await soon(reading, silentMs);
        for (const entry of found?.[0][1] ?? []) await this.#follow(entry as Entry, follow);
      } catch {
        // The link tells of a Redis that is away.
        isCut = true;
        renewal.failed();
        if (!this.#closed) await new Promise((resolve) => setTimeout(resolve, retryMs));
      }
    }
  }

  async #follow([id, fields]: Entry, follow: (change: AdapterChange) => Promise<void>): Promise<void> {
    this.#last = id;
    const given: Record<string, string> = {};
    for (let i = 0; i + 1 < fields.length; i += 2) given[fields[i]] = fields[i + 1];
    const change = changeOf(given);
    if (!change) {
      return this.options.log(`a change of another server is passed over: nobody here knows its kind`);
    }
    const isOwn = given.server === this.options.server;
    if (isOwn && this.#own.has(change.name)) return this.#ownRead(change.name);
    if (!isOwn && change.kind !== "published" && this.#comesOwn(change.name, id)) return;
    // An own change that is not waited for was sent twice, as Redis answered late: others make it twice, too.
    const teller = isOwn ? "this server told before" : "another server told";
    try {
      await follow(change);
      this.options.log(`adapter "${change.name}" is ${change.kind}, as ${teller}`);
    } catch (error) {
      const { message } = error as Error;
      this.options.log(`adapter "${change.name}" stays as it was, though ${teller}: ${message}`);
    }
  }

  /** Whether an own change of a name stands after the entry. */
  #comesOwn(name: string, entryId: string): boolean {
    const own = this.#own.get(name);
    if (!own) return false;
    const isSent = this.#waiting.every((change) => change.name !== name);
    if (!isSent || own.sentId === undefined || !isLater(entryId, own.sentId)) return true;
    // A Redis that was started anew had lost it.
    this.#own.delete(name);
    return false;
  }

  #ownRead(name: string): void {
    const own = this.#own.get(name);
    if (own && own.count > 1) this.#own.set(name, { ...own, count: own.count - 1 });
    else this.#own.delete(name);
  }
}

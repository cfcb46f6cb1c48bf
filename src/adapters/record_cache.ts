/**
 * Records of adapters as they were last seen: looked at again when they are old, and used a while longer if the store
 * cannot be asked.
 *
 * @module
 */
import type { ObjectRecord } from "./object_record.ts";
import { within } from "./objects.ts";

/** Names at most that are remembered as missing: anybody may ask for any name. */
const mostMissing = 10_000;

/** A look at a name that was seen before is waited for so long; then the record that is known is the answer. */
const patienceMs = 250;

/** How long records are good. */
export interface RecordTimes {
  /** A record is looked at again after so long; so is a name that was missing. */
  readonly ttlMs: number;
  /** A record that cannot be looked at again is used for so long. */
  readonly staleMs: number;
  /** A clock that never goes back, milliseconds. */
  readonly now: () => number;
}

interface Seen {
  readonly record: ObjectRecord;
  readonly atMs: number;
}

/** See the module's documentation. */
export class RecordCache {
  readonly #seen = new Map<string, Seen>();
  /** When names were found to be missing, the oldest first. */
  readonly #missing = new Map<string, number>();
  readonly #looks = new Map<string, Promise<ObjectRecord | undefined>>();

  /**
   * @param look Reads the record of a name.
   * @param onStale Told of a record that is used though it could not be looked at again.
   */
  constructor(
    private readonly look: (name: string) => Promise<ObjectRecord | undefined>,
    private readonly times: RecordTimes,
    private readonly onStale: (name: string, error: unknown) => void,
  ) {}

  /**
   * The record of a name; undefined where there is none.
   *
   * @throws what `look` throws, unless a record is known that is not too old.
   */
  async get(name: string): Promise<ObjectRecord | undefined> {
    const { now, ttlMs, staleMs } = this.times;
    const seen = this.#seen.get(name), atMs = now();
    if (seen && atMs - seen.atMs < ttlMs) return seen.record;
    if (atMs - (this.#missing.get(name) ?? -Infinity) < ttlMs) return undefined;
    const look = this.#look(name);
    if (!seen || atMs - seen.atMs >= staleMs) return await look;
    // This process may have written another one meanwhile.
    const known = (): ObjectRecord | undefined => this.#seen.get(name)?.record;
    const usable = look.catch((error) => {
      if (known()) this.onStale(name, error);
      return known();
    });
    return await within(usable, patienceMs, known);
  }

  /** What this process wrote: looks that began before saw less. */
  set(name: string, record: ObjectRecord | undefined): void {
    this.#looks.delete(name);
    this.#note(name, record, this.times.now());
  }

  /** What is known of a name is old: it is looked at again, and is the answer where that fails. */
  expire(name: string): void {
    const seen = this.#seen.get(name);
    if (seen) {
      this.#seen.set(name, { ...seen, atMs: Math.min(seen.atMs, this.times.now() - this.times.ttlMs) });
    }
    this.#missing.delete(name);
    // A look that began before saw less.
    this.#looks.delete(name);
  }

  async #look(name: string): Promise<ObjectRecord | undefined> {
    const known = this.#looks.get(name);
    if (known) return await known;
    // What changes while the look is under way may be missed: it is as old as its beginning.
    const atMs = this.times.now();
    const look = this.look(name);
    this.#looks.set(name, look);
    try {
      const record = await look;
      if (this.#looks.get(name) === look) this.#note(name, record, atMs);
      return record;
    } finally {
      if (this.#looks.get(name) === look) this.#looks.delete(name);
    }
  }

  #note(name: string, record: ObjectRecord | undefined, atMs: number): void {
    this.#missing.delete(name);
    if (record) {
      this.#seen.set(name, { record, atMs });
      return;
    }
    this.#seen.delete(name);
    this.#missing.set(name, atMs);
    if (this.#missing.size <= mostMissing) return;
    const [oldest] = this.#missing.keys();
    this.#missing.delete(oldest);
  }
}

/**
 * One version of a stored adapter: what is known of it, and its modules for as long as anyone has them.
 *
 * @module
 */
import type { LoadedAdapter } from "./peft.ts";

/** What stays known of an adapter that was read once. */
export type AdapterFacts = Pick<LoadedAdapter, "method" | "sizeBytes" | "digest">;

/**
 * See the module's documentation. Thousands of adapters on a device need not be on the host as well: one that nobody has
 * any more may be collected, and is read again when it is asked for.
 */
export class Entry {
  #adapter: WeakRef<LoadedAdapter> | undefined;
  #reading: Promise<LoadedAdapter> | undefined;
  #facts: AdapterFacts | undefined;

  constructor(
    readonly version: string,
    readonly createdUnixSeconds: number,
    private readonly read: () => Promise<LoadedAdapter>,
  ) {}

  /** The adapter. Whoever asks while it is read gets the same; after a failure it is tried again. */
  async adapter(): Promise<LoadedAdapter> {
    const kept = this.#adapter?.deref();
    if (kept) return kept;
    this.#reading ??= this.#readOnce();
    return await this.#reading;
  }

  /** What is known of it; reads it the first time. */
  async facts(): Promise<AdapterFacts> {
    if (this.#facts) return this.#facts;
    const { method, sizeBytes, digest } = await this.adapter();
    return { method, sizeBytes, digest };
  }

  async #readOnce(): Promise<LoadedAdapter> {
    try {
      const adapter = await this.read();
      const { method, sizeBytes, digest } = adapter;
      this.#facts = { method, sizeBytes, digest };
      this.#adapter = new WeakRef(adapter);
      return adapter;
    } finally {
      this.#reading = undefined;
    }
  }
}

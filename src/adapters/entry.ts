/**
 * One version of a stored adapter: what is known of it, and its modules for as long as anyone has them.
 *
 * @module
 */
import { StoreError } from "../errors.ts";
import type { AdapterFacts } from "./describe.ts";
import type { LoadedAdapter } from "./peft.ts";

/** How long a failure is an answer: what a system refused once it may allow later, though no file has changed. */
const failureMs = 60_000;

/** Reads an adapter for its entry. */
export interface EntryDeps {
  /** Reads it whole. */
  readonly read: () => Promise<LoadedAdapter>;
  /** Reads what a list says of it. */
  readonly describe: () => Promise<AdapterFacts>;
  /** Whether the store says that without the adapter's files. */
  readonly isDescribed: boolean;
}

/**
 * See the module's documentation. Thousands of adapters on a device need not be on the host as well: one that nobody has
 * any more may be collected, and is read again when it is asked for.
 */
export class Entry {
  #adapter: WeakRef<LoadedAdapter> | undefined;
  #reading: Promise<LoadedAdapter> | undefined;
  #describing: Promise<AdapterFacts> | undefined;
  #facts: AdapterFacts | undefined;
  #failure: { readonly error: Error; readonly atMs: number } | undefined;

  constructor(
    readonly version: string,
    readonly createdUnixSeconds: number,
    private readonly deps: EntryDeps,
  ) {}

  /** The adapter. Whoever asks while it is read gets the same; after a failure it is tried again. */
  async adapter(): Promise<LoadedAdapter> {
    const kept = this.#adapter?.deref();
    if (kept) return kept;
    this.#reading ??= this.#noting(this.#readOnce()).finally(() => this.#reading = undefined);
    return await this.#reading;
  }

  /** What is known of it without a look at its files. */
  get known(): AdapterFacts | undefined {
    return this.#facts;
  }

  /** Why it could not be read or described the last time, if that is not long ago. */
  get failure(): Error | undefined {
    return this.#failure && performance.now() - this.#failure.atMs < failureMs
      ? this.#failure.error
      : undefined;
  }

  /**
   * What is known of it; the first time, what its config and its weights' header say. A failure is remembered, but where
   * the store itself describes the adapter: then files may be right that were not when they were last read.
   */
  async facts(): Promise<AdapterFacts> {
    if (this.failure && !this.deps.isDescribed) throw this.failure;
    if (this.#facts) return this.#facts;
    this.#describing ??= this.#noting(this.#describeOnce()).finally(() => this.#describing = undefined);
    return await this.#describing;
  }

  async #noting<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      // A store that failed says nothing of the adapter.
      if (!(error instanceof StoreError)) this.#failure = { error: error as Error, atMs: performance.now() };
      throw error;
    }
  }

  async #describeOnce(): Promise<AdapterFacts> {
    try {
      const facts = await this.deps.describe();
      return this.#facts ??= facts;
    } catch (error) {
      // Read whole meanwhile, it is known better.
      if (this.#facts) return this.#facts;
      throw error;
    }
  }

  async #readOnce(): Promise<LoadedAdapter> {
    const adapter = await this.deps.read();
    const { method, sizeBytes, digest, own } = adapter;
    this.#facts = { method, sizeBytes, digest, hasOwn: own !== undefined };
    this.#failure = undefined;
    this.#adapter = new WeakRef(adapter);
    return adapter;
  }
}

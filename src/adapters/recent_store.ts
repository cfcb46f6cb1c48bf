/**
 * A store whose adapters are looked at again when the last look is old: requests of one adapter share a look.
 *
 * @module
 */
import type { AdapterStore, LeftOut, OpenStoredOptions, StoredAdapter } from "./store.ts";

/** How long a look is good. */
export interface RecentStoreOptions {
  /** Seconds after which an adapter is looked at again: so late may a replaced one be seen. */
  readonly ttlSeconds: number;
  /** Milliseconds of a clock that never goes back; `performance.now` by default. */
  readonly now?: () => number;
}

interface Found {
  readonly stored: StoredAdapter;
  /** When the look began: what changed since may have been missed. */
  readonly atMs: number;
}

/** See the module's documentation. A name that was missing, and a look that failed, are looked at again at once. */
export class RecentStore implements AdapterStore {
  /** The oldest look first. */
  readonly #found = new Map<string, Found>();
  readonly #looks = new Map<string, Promise<StoredAdapter | undefined>>();
  readonly #ttlMs: number;
  readonly #now: () => number;

  constructor(
    private readonly store: AdapterStore,
    { ttlSeconds, now = () => performance.now() }: RecentStoreOptions,
  ) {
    this.#ttlMs = ttlSeconds * 1000;
    this.#now = now;
  }

  /** The names of now. */
  async list(): Promise<readonly string[]> {
    return await this.store.list();
  }

  leftOut(): readonly LeftOut[] {
    return this.store.leftOut?.() ?? [];
  }

  async open(id: string, { anew = false }: OpenStoredOptions = {}): Promise<StoredAdapter | undefined> {
    if (!anew) {
      // A look that is under way may see more than the one that is known.
      const looking = this.#looks.get(id);
      if (looking) return await looking;
      const found = this.#found.get(id);
      if (found && this.#now() - found.atMs < this.#ttlMs) return found.stored;
    }
    const atMs = this.#now(), look = this.store.open(id, { anew: true });
    this.#looks.set(id, look);
    try {
      const stored = await look;
      // A look that began later may have ended before: that one counts.
      if (this.#looks.get(id) === look) this.#note(id, stored, atMs);
      return stored;
    } finally {
      if (this.#looks.get(id) === look) this.#looks.delete(id);
    }
  }

  changed(id: string): void {
    this.#found.delete(id);
    // A look that began before saw less.
    this.#looks.delete(id);
    this.store.changed?.(id);
  }

  #note(id: string, stored: StoredAdapter | undefined, atMs: number): void {
    this.#found.delete(id);
    if (stored) this.#found.set(id, { stored, atMs });
    this.#forgetOld();
  }

  /** Only names of the last moment are kept. */
  #forgetOld(): void {
    const now = this.#now();
    for (const [id, { atMs }] of this.#found) {
      if (now - atMs < this.#ttlMs) return;
      this.#found.delete(id);
    }
  }
}

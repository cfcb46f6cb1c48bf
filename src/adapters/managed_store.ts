/**
 * A store whose names an operator changes while it is served: adapters get other names, or leave.
 *
 * @module
 */
import { NotFoundError } from "../errors.ts";
import { isAdapterName, nameFault, normalName, quotedName } from "./names.ts";
import type { AdapterStore, LeftOut, OpenStoredOptions, StoredAdapter } from "./store.ts";
import { type SentFiles, Uploads } from "./uploads.ts";

/** How a managed store is set up. */
export interface ManagedStoreOptions {
  /** Bytes of adapters that were sent, all together, at most; default 256 MiB. */
  readonly uploadBytes?: number;
}

/** See the module's documentation. What is changed lasts as long as the store: files are left as they are. */
export class ManagedStore implements AdapterStore {
  /** Keys of the store beneath, by the name that is asked for. */
  readonly #keys = new Map<string, string>();
  readonly #removed = new Set<string>();
  /** Keys by names that are in no list, for as long as they are tried, and what messages call them. */
  readonly #tried = new Map<string, { readonly key: string; readonly triedAs: string }>();
  #last: { readonly found: readonly string[]; readonly names: readonly string[] } | undefined;

  readonly #uploads: Uploads;

  constructor(
    private readonly store: AdapterStore,
    { uploadBytes = 2 ** 28 }: ManagedStoreOptions = {},
  ) {
    this.#uploads = new Uploads(uploadBytes);
  }

  async list(): Promise<readonly string[]> {
    const found = await this.store.list();
    if (this.#keys.size === 0 && this.#removed.size === 0) return found;
    if (this.#last?.found === found && Object.isFrozen(found)) return this.#last.names;
    const own = new Set(found.map(normalName));
    const kept = found.filter((name) => !this.#removed.has(normalName(name)));
    const added = [...this.#keys.keys()].filter((name) => !own.has(name));
    this.#last = { found, names: Object.freeze([...kept, ...added]) };
    return this.#last.names;
  }

  leftOut(): readonly LeftOut[] {
    return this.store.leftOut?.() ?? [];
  }

  async open(id: string, options?: OpenStoredOptions): Promise<StoredAdapter | undefined> {
    const name = normalName(id);
    if (this.#removed.has(name)) return undefined;
    const tried = this.#tried.get(name);
    if (!tried) return await this.#stored(this.#keys.get(name) ?? name, options);
    const stored = await this.#stored(tried.key, options);
    return stored && { ...stored, triedAs: tried.triedAs };
  }

  /** @param key A name of the store beneath. */
  changed(key: string): void {
    this.store.changed?.(normalName(key));
    this.#last = undefined;
  }

  async #stored(key: string, options?: OpenStoredOptions): Promise<StoredAdapter | undefined> {
    return this.#uploads.get(key) ?? await this.store.open(key, options);
  }

  /** The key that a name stands for; undefined where it is the store's own name, or none. */
  keyOf(name: string): string | undefined {
    return this.#keys.get(normalName(name));
  }

  /**
   * Tries the adapter of a key by a name that nobody knows, and serves it by `name` once `check` has found no fault.
   *
   * @returns What serves by `name` again what was served before.
   * @throws RangeError for a name or a key that no adapter may have; NotFoundError when the store has no such key; whatever
   * `check` throws. Nothing has changed then.
   */
  async add(name: string, key: string, check: (tried: string) => Promise<void>): Promise<() => void> {
    return await this.#add(name, key, { triedAs: normalName(key), check });
  }

  async #add(
    name: string,
    key: string,
    { triedAs, check }: {
      readonly triedAs: string;
      readonly check: (tried: string) => Promise<void>;
    },
  ): Promise<() => void> {
    const id = normalName(name), source = normalName(key);
    for (const [what, text] of [["name", id], ["key", source]]) {
      if (isAdapterName(text)) continue;
      throw new RangeError(`Cannot serve an adapter by the ${what} ${quotedName(text)}: ${nameFault(text)}`);
    }
    // Whoever loads an adapter means the files of now.
    this.changed(source);
    if (!await this.#stored(source)) {
      throw new NotFoundError(`Cannot find ${quotedName(source)} among the stored adapters`);
    }
    const tried = crypto.randomUUID();
    this.#tried.set(tried, { key: source, triedAs });
    try {
      await check(tried);
    } finally {
      this.#tried.delete(tried);
    }
    const before = { key: this.#keys.get(id), removed: this.#removed.has(id) };
    this.#set(id, source === id ? undefined : source, false);
    return () => this.#set(id, before.key, before.removed);
  }

  /**
   * As {@linkcode add}, of an adapter's files that somebody sent. They stay in memory until {@linkcode forget} finds that
   * no name stands for them.
   *
   * @throws as `add`; OverloadedError where they have no room.
   */
  async send(
    name: string,
    files: SentFiles,
    check: (tried: string) => Promise<void>,
  ): Promise<() => void> {
    return await this.#add(name, this.#uploads.add(name, files), { triedAs: normalName(name), check });
  }

  /** Frees what was sent and has no name any more. */
  forget(): void {
    this.#uploads.keep(new Set(this.#keys.values()));
  }

  /** Serves nothing by a name any more, until it is added again. */
  remove(name: string): void {
    this.#set(normalName(name), undefined, true);
  }

  #set(id: string, key: string | undefined, removed: boolean): void {
    if (key === undefined) this.#keys.delete(id);
    else this.#keys.set(id, key);
    if (removed) this.#removed.add(id);
    else this.#removed.delete(id);
    this.#last = undefined;
  }
}

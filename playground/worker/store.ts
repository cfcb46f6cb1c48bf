/**
 * The adapters of a page: those behind URLs, and folders that were dropped.
 *
 * @module
 */
import type { AdapterStore, ReadableFolder, StoredAdapter } from "fourierft";

/** See the module's documentation. A name that is added again stands for the newer folder. */
export class PageStore implements AdapterStore {
  readonly #adapters = new Map<string, StoredAdapter>();
  #added = 0;

  list(): Promise<readonly string[]> {
    return Promise.resolve([...this.#adapters.keys()]);
  }

  open(id: string): Promise<StoredAdapter | undefined> {
    return Promise.resolve(this.#adapters.get(id));
  }

  /**
   * Returns what takes it back, unless a newer folder has the name by then.
   *
   * @param described What a list says of the adapter; read from its files unless told.
   */
  add(id: string, folder: ReadableFolder, described?: StoredAdapter["described"]): () => void {
    const before = this.#adapters.get(id);
    const added: StoredAdapter = {
      folder,
      version: String(++this.#added),
      modifiedUnixSeconds: Math.floor(Date.now() / 1000),
      ...(described ? { described } : {}),
    };
    this.#adapters.set(id, added);
    return () => {
      if (this.#adapters.get(id) !== added) return;
      if (before) this.#adapters.set(id, before);
      else this.#adapters.delete(id);
    };
  }
}

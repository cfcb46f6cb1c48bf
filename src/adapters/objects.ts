/**
 * Objects of a storage by key, whatever the storage's driver makes of them: bounded in time, and shared by who asks.
 *
 * @module
 */
import { StoreError } from "../errors.ts";

/** What an object store needs of a storage; unstorage's `Storage` is one. Keys have parts with `:` between. */
export interface ObjectStorage {
  /** A JSON value or a text; null where there is none. */
  getItem(key: string): Promise<unknown>;
  /** Bytes; null where there is none. */
  getItemRaw(key: string): Promise<unknown>;
  setItem(key: string, value: string): Promise<void>;
  setItemRaw(key: string, value: Uint8Array): Promise<void>;
  removeItem(key: string): Promise<void>;
  /** Keys that begin with `base`. */
  getKeys(base?: string): Promise<string[]>;
}

/** A value that a driver gave: some give a failure as a value, unstorage's `fs` among them. */
function unlessFailed(value: unknown): unknown {
  if (value instanceof Error) throw value;
  return value ?? undefined;
}

/** Bytes in the forms in which drivers give them. */
async function bytesOf(value: unknown): Promise<Uint8Array> {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (value instanceof Blob) return new Uint8Array(await value.arrayBuffer());
  throw new TypeError(`the driver gave ${typeof value} in place of bytes`);
}

/** What `work` gives, unless that takes longer: work goes on then, and nobody waits. */
export async function within<T>(work: Promise<T>, ms: number, late: () => T | Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const patience = new Promise<"late">((resolve) => timer = setTimeout(resolve, ms, "late"));
  try {
    const first = await Promise.race([work.then((value) => ({ value })), patience]);
    return first === "late" ? await late() : first.value;
  } finally {
    clearTimeout(timer);
  }
}

/** See the module's documentation. What a driver throws becomes a StoreError that says which object was asked for. */
export class Objects {
  readonly #reads = new Map<string, Promise<unknown>>();

  /** @param timeoutMs Time that one call may take. */
  constructor(private readonly storage: ObjectStorage, private readonly timeoutMs: number) {}

  /** A JSON value or a text; undefined where there is none. */
  async json(key: string): Promise<unknown> {
    return await this.#shared(key, () => this.storage.getItem(key));
  }

  /** As `json`, by a call of its own: a read that began before may hang. */
  async jsonAnew(key: string): Promise<unknown> {
    return await this.#call("read", key, () => this.storage.getItem(key));
  }

  /** Bytes; undefined where there are none. */
  async bytes(key: string): Promise<Uint8Array | undefined> {
    const value = await this.#shared(key, async () => {
      const found = unlessFailed(await this.storage.getItemRaw(key));
      return found === undefined ? undefined : await bytesOf(found);
    });
    return value as Uint8Array | undefined;
  }

  async putText(key: string, text: string): Promise<void> {
    await this.#write("write", key, () => this.storage.setItem(key, text));
  }

  async putBytes(key: string, bytes: Uint8Array): Promise<void> {
    await this.#write("write", key, () => this.storage.setItemRaw(key, bytes));
  }

  async remove(key: string): Promise<void> {
    await this.#write("remove", key, () => this.storage.removeItem(key));
  }

  async keys(base: string): Promise<readonly string[]> {
    const value = await this.#shared(`${base}:*`, () => this.storage.getKeys(base));
    return value as string[];
  }

  /** Who asks for a key from now on reads it anew. */
  forget(key: string): void {
    this.#reads.delete(key);
  }

  /** Who asks for keys from now on reads them anew. */
  forgetKeys(base: string): void {
    this.#reads.delete(`${base}:*`);
  }

  async #write(what: string, key: string, write: () => Promise<unknown>): Promise<void> {
    await this.#call(what, key, write);
    // Reads that began before may give what was there before: who asks from now on reads anew.
    this.#reads.delete(key);
  }

  /** Who asks for a key while it is read gets the same answer. */
  async #shared(key: string, read: () => Promise<unknown>): Promise<unknown> {
    const reading = this.#reads.get(key) ?? this.#call("read", key, read);
    this.#reads.set(key, reading);
    try {
      return await reading;
    } finally {
      if (this.#reads.get(key) === reading) this.#reads.delete(key);
    }
  }

  async #call(what: string, key: string, call: () => Promise<unknown>): Promise<unknown> {
    const failed = (why: string, cause?: unknown): StoreError =>
      new StoreError(`Cannot ${what} "${key}" in the store of adapters: ${why}`, { cause });
    const work = (async () => {
      try {
        return unlessFailed(await call());
      } catch (error) {
        // Drivers' messages may hold addresses and keys of the store: they stay in the cause.
        throw failed("the store failed", error);
      }
    })();
    return await within(work, this.timeoutMs, () => {
      work.catch(() => {});
      throw failed(`the store did not answer in ${this.timeoutMs} ms`);
    });
  }
}

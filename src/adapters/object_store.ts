/**
 * Adapters in a storage of objects: a bucket, Redis, a web server, a folder, memory.
 *
 * A record by each name says which objects the adapter's files are, by their digests. Objects never change, so that any
 * number of servers may read while an adapter is replaced: a server sees the old record or the new one.
 *
 * @module
 */
import { ConfigError, StoreError } from "../errors.ts";
import { isPlainName, MissingFileError, type ReadableFolder, readTextBy } from "../folder.ts";
import { bytesSource } from "../safetensors/mod.ts";
import { nameFault, normalName, quotedName } from "./names.ts";
import { ObjectCache } from "./object_cache.ts";
import {
  nameOfKey,
  type ObjectFile,
  objectKey,
  type ObjectRecord,
  optionalFiles,
  parseRecord,
  recordBase,
  recordFiles,
  recordKey,
  recordText,
} from "./object_record.ts";
import { Objects, type ObjectStorage, within } from "./objects.ts";
import { defaultMaxBytes, loadAdapter, sha256 } from "./peft.ts";
import { RecordCache } from "./record_cache.ts";
import type { AdapterStore, LeftOut, StoredAdapter } from "./store.ts";

export type { ObjectStorage } from "./objects.ts";

/** How an object store is opened. */
export interface ObjectStoreOptions {
  /** Seconds after which a name's record is looked at again, and a list; default 5. So old may an answer be. */
  readonly ttlSeconds?: number;
  /** Seconds for which known records are used while the store cannot be asked; default 3600. */
  readonly staleSeconds?: number;
  /** Seconds that one call of the storage may take; default 10. A list may take six times as long. */
  readonly timeoutSeconds?: number;
  /** Bytes of objects that are kept on the host; default 256 MiB. */
  readonly cacheBytes?: number;
  readonly log?: (line: string) => void;
  /** Milliseconds of a clock that never goes back; `performance.now` by default. */
  readonly now?: () => number;
}

/** A list that is known is given after so long, though the store has not answered. */
const listPatienceMs = 1000;

interface NameList {
  readonly names: readonly string[];
  readonly leftOut: readonly LeftOut[];
  readonly atMs: number;
}

/** See the module's documentation. */
export class ObjectStore implements AdapterStore {
  readonly #objects: Objects;
  readonly #lists: Objects;
  readonly #records: RecordCache;
  readonly #cache: ObjectCache;
  readonly #reads = new Map<string, Promise<Uint8Array>>();
  readonly #log: (line: string) => void;
  readonly #now: () => number;
  readonly #ttlMs: number;
  readonly #staleMs: number;
  #list: NameList | undefined;
  /** The look at all names that is under way. */
  #looking: Promise<NameList> | undefined;
  /** Names that are served by an old record, so that it is told once. */
  #stale = new Set<string>();

  constructor(storage: ObjectStorage, options: ObjectStoreOptions = {}) {
    const { ttlSeconds = 5, staleSeconds = 3600, timeoutSeconds = 10, cacheBytes = 2 ** 28 } = options;
    const { log = () => {}, now = () => performance.now() } = options;
    this.#ttlMs = ttlSeconds * 1000;
    this.#staleMs = staleSeconds * 1000;
    this.#log = log;
    this.#now = now;
    this.#objects = new Objects(storage, timeoutSeconds * 1000);
    this.#lists = new Objects(storage, timeoutSeconds * 6000);
    this.#cache = new ObjectCache(cacheBytes);
    const times = { ttlMs: this.#ttlMs, staleMs: this.#staleMs, now };
    this.#records = new RecordCache((name) => this.#look(name), times, (name, error) => {
      if (this.#stale.has(name)) return;
      this.#stale.add(name);
      log(`adapter ${quotedName(name)} is served as it was last seen: ${(error as Error).message}`);
    });
  }

  /** The same list until it is looked at again and has changed. */
  async list(): Promise<readonly string[]> {
    const known = this.#list, atMs = this.#now();
    if (known && atMs - known.atMs < this.#ttlMs) return known.names;
    const looking = this.#looking ??= this.#lookAtAll(atMs);
    if (!known || atMs - known.atMs >= this.#staleMs) return (await looking).names;
    const usable = looking.catch(() => known);
    return (await within(usable, listPatienceMs, () => known)).names;
  }

  leftOut(): readonly LeftOut[] {
    return this.#list?.leftOut ?? [];
  }

  changed(id: string): void {
    const name = normalName(id), key = recordKey(name);
    if (key === undefined) return;
    this.#records.expire(name);
    this.#objects.forget(key);
    const known = this.#list;
    if (known) this.#list = { ...known, atMs: Math.min(known.atMs, this.#now() - this.#ttlMs) };
    this.#looking = undefined;
    this.#lists.forgetKeys(recordBase);
  }

  async open(id: string): Promise<StoredAdapter | undefined> {
    if (nameFault(id) !== undefined || recordKey(id) === undefined) return undefined;
    const record = await this.#records.get(id);
    if (!record) return undefined;
    const { createdUnixSeconds, files, peftType } = record;
    return {
      folder: this.#folder(id, files),
      version: [...files.values()].map(({ sha256 }) => sha256).join(","),
      modifiedUnixSeconds: createdUnixSeconds,
      described: {
        peftType,
        sizeBytes: [...files.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      },
    };
  }

  /**
   * Serves an adapter's files by a name, in place of those that the name had. Objects are written first and read again,
   * the record last: what goes wrong leaves the name as it was.
   *
   * @throws ConfigError, SafetensorsError for files that are no adapter; RangeError for a name that no adapter may have;
   * StoreError when the store fails, or gives back other bytes than were written.
   */
  async publish(name: string, folder: ReadableFolder): Promise<void> {
    const id = normalName(name), key = this.#keyOf(id);
    const { method } = await loadAdapter(folder);
    const files = new Map<string, ObjectFile>();
    const optional = [];
    for (const file of optionalFiles) if (await folder.exists(file)) optional.push(file);
    for (const file of [...recordFiles, ...optional]) {
      const bytes = await wholeFile(folder, file);
      files.set(file, await this.#put(bytes));
    }
    const record: ObjectRecord = {
      peftType: method.peftType,
      createdUnixSeconds: Math.floor(Date.now() / 1000),
      files,
    };
    const text = recordText(record);
    await this.#objects.putText(key, text);
    const now = await this.#objects.json(key);
    // Somebody else may have published by this name since: a record that is whole is one that was published.
    if (now === undefined) {
      throw new StoreError(`Cannot write "${key}" in the store of adapters: it is not there`);
    }
    this.#noteNew(id, parseRecord(id, now));
  }

  /**
   * Serves nothing by a name any more. Objects stay: other names may have them.
   *
   * @returns Whether the store had the name, be its record right or wrong.
   */
  async remove(name: string): Promise<boolean> {
    const id = normalName(name), key = this.#keyOf(id);
    const had = await this.#objects.jsonAnew(key) !== undefined;
    await this.#objects.remove(key);
    this.#noteNew(id, undefined);
    return had;
  }

  #noteNew(id: string, record: ObjectRecord | undefined): void {
    this.#records.set(id, record);
    this.#list = undefined;
    // A look that began before saw less.
    this.#looking = undefined;
    this.#lists.forgetKeys(recordBase);
  }

  #keyOf(id: string): string {
    const key = nameFault(id) === undefined ? recordKey(id) : undefined;
    if (key !== undefined) return key;
    const why = nameFault(id) ?? "the name is too long for a file of a store";
    throw new RangeError(`Cannot store an adapter by the name ${quotedName(id)}: ${why}`);
  }

  async #put(bytes: Uint8Array): Promise<ObjectFile> {
    const file = { sha256: await sha256([bytes]), sizeBytes: bytes.length }, key = objectKey(file.sha256);
    const isRight = async (): Promise<boolean> => {
      const stored = await this.#objects.bytes(key);
      return stored !== undefined && await sha256([stored]) === file.sha256;
    };
    if (await isRight()) return file;
    await this.#objects.putBytes(key, bytes);
    // Some drivers and disks report nothing of what they did not keep.
    if (await isRight()) return file;
    throw new StoreError(
      `Cannot write "${key}" in the store of adapters: the store has other bytes than it was given`,
    );
  }

  async #look(name: string): Promise<ObjectRecord | undefined> {
    const stored = await this.#objects.json(recordKey(name)!);
    const record = stored === undefined ? undefined : parseRecord(name, stored);
    this.#stale.delete(name);
    return record;
  }

  /** Who asks meanwhile shares the look, which is as old as its beginning. */
  #lookAtAll(atMs: number): Promise<NameList> {
    const looking = this.#listedAt(atMs).then((list) => {
      if (this.#looking === looking) this.#list = list;
      return list;
    }).finally(() => {
      if (this.#looking === looking) this.#looking = undefined;
    });
    return looking;
  }

  async #listedAt(atMs: number): Promise<NameList> {
    const keys = await this.#lists.keys(recordBase);
    const names: string[] = [], leftOut: LeftOut[] = [];
    for (const key of keys) {
      const name = nameOfKey(key);
      if (name !== undefined) names.push(name);
      else if (key.startsWith(`${recordBase}:`)) {
        leftOut.push({ name: key.slice(recordBase.length + 1), reason: "it is no record of an adapter" });
      }
    }
    const known = this.#list;
    names.sort();
    const same = known?.names.length === names.length && known.names.every((name, i) => name === names[i]);
    return { names: same ? known.names : Object.freeze(names), leftOut, atMs };
  }

  #folder(adapter: string, files: ReadonlyMap<string, ObjectFile>): ReadableFolder {
    const fileOf = (name: string): ObjectFile | undefined => {
      if (isPlainName(name)) return files.get(name);
      throw new ConfigError(
        `Cannot open file ${JSON.stringify(name)}: the rule is a plain name, without folders`,
      );
    };
    const open: ReadableFolder["open"] = (name) =>
      Promise.resolve().then(() => {
        const file = fileOf(name);
        if (!file) {
          throw new MissingFileError(`Cannot open file ${JSON.stringify(name)}: there is no such file`);
        }
        const what = `${JSON.stringify(name)} of adapter ${quotedName(adapter)}`;
        return {
          sizeBytes: file.sizeBytes,
          // Nothing is read before a reader has seen the size.
          read: async (at: number, count: number) => {
            return await (await bytesSource(await this.#object(what, file))).read(at, count);
          },
        };
      });
    return {
      open,
      readText: (name, options) => readTextBy(open, name, options),
      exists: (name) => Promise.resolve().then(() => fileOf(name) !== undefined),
    };
  }

  /** An object's bytes, from the host or the store; who asks meanwhile shares the reading. */
  async #object(what: string, file: ObjectFile): Promise<Uint8Array> {
    const kept = this.#cache.get(file.sha256);
    if (kept) return kept;
    const reading = this.#reads.get(file.sha256) ?? this.#read(what, file);
    this.#reads.set(file.sha256, reading);
    try {
      return await reading;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      // Others may have begun the reading, for an adapter of theirs.
      throw new ConfigError(`Cannot read ${what}: ${error.message}`, { cause: error });
    } finally {
      if (this.#reads.get(file.sha256) === reading) this.#reads.delete(file.sha256);
    }
  }

  /**
   * Reads an object, once more if its bytes are wrong: a transfer may have been cut.
   *
   * @throws ConfigError that says what is wrong, and names no adapter, when the bytes are wrong again.
   */
  async #read(what: string, { sha256: digest, sizeBytes }: ObjectFile): Promise<Uint8Array> {
    let found = "";
    for (let tries = 0; tries < 2; tries++) {
      const bytes = await this.#objects.bytes(objectKey(digest));
      if (!bytes) {
        found = "the store has no such object";
        continue;
      }
      const actual = await sha256([bytes]);
      if (actual === digest) {
        this.#cache.set(digest, bytes);
        return bytes;
      }
      found = `the object has ${bytes.length} bytes with SHA-256 ${actual}`;
      this.#log(`${what} is read again: ${found}`);
    }
    throw new ConfigError(`${found}, and the record says ${sizeBytes} bytes with SHA-256 ${digest}`);
  }
}

async function wholeFile(folder: ReadableFolder, name: string): Promise<Uint8Array> {
  const source = await folder.open(name);
  try {
    if (source.sizeBytes > defaultMaxBytes) {
      throw new ConfigError(
        `Cannot store ${name}: it has ${source.sizeBytes} bytes, the limit is ${defaultMaxBytes}`,
      );
    }
    return await source.read(0, source.sizeBytes);
  } finally {
    await source.close?.();
  }
}

/**
 * Adapters that were sent to a server: their files, in memory, for as long as a name stands for them.
 *
 * @module
 */
import { OverloadedError } from "../errors.ts";
import { MissingFileError, type ReadableFolder, readTextBy } from "../folder.ts";
import { bytesSource } from "../safetensors/mod.ts";
import { quotedName } from "./names.ts";
import type { StoredAdapter } from "./store.ts";

/** An adapter's files by their names. */
export type SentFiles = ReadonlyMap<string, Uint8Array>;

/** Files in memory as a folder. */
function folderOf(files: SentFiles): ReadableFolder {
  const open: ReadableFolder["open"] = (name) => {
    const bytes = files.get(name);
    if (bytes) return Promise.resolve(bytesSource(bytes));
    return Promise.reject(
      new MissingFileError(`Cannot open file ${JSON.stringify(name)}: it was not sent with the adapter`),
    );
  };
  return {
    open,
    readText: (name, options) => readTextBy(open, name, options),
    exists: (name) => Promise.resolve(files.has(name)),
  };
}

interface Upload {
  readonly stored: StoredAdapter;
  readonly bytes: number;
}

/** See the module's documentation. */
export class Uploads {
  readonly #uploads = new Map<string, Upload>();

  /** @param mostBytes Of all of them together. */
  constructor(private readonly mostBytes: number) {}

  /**
   * Keeps an adapter's files by a key of their own.
   *
   * @param name What the adapter is to be called, for the message.
   * @throws OverloadedError where they have no room.
   */
  add(name: string, files: SentFiles): string {
    const bytes = [...files.values()].reduce((sum, file) => sum + file.length, 0);
    const kept = [...this.#uploads.values()].reduce((sum, upload) => sum + upload.bytes, 0);
    if (kept + bytes > this.mostBytes) {
      throw new OverloadedError(
        `Cannot keep adapter ${
          quotedName(name)
        } of ${bytes} bytes: adapters that were sent have ${kept} bytes, ` +
          `at most ${this.mostBytes} are kept; unload some`,
      );
    }
    const key = crypto.randomUUID();
    const modifiedUnixSeconds = Math.floor(Date.now() / 1000);
    this.#uploads.set(key, { bytes, stored: { folder: folderOf(files), version: key, modifiedUnixSeconds } });
    return key;
  }

  get(key: string): StoredAdapter | undefined {
    return this.#uploads.get(key)?.stored;
  }

  /** Forgets all but these. Whoever reads one of the others goes on. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#uploads.keys()) if (!keys.has(key)) this.#uploads.delete(key);
  }
}

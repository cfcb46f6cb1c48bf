/**
 * Folders, adapters and checkpoints in memory.
 *
 * @module
 */
import type { AdapterStore } from "../adapters/store.ts";
import { ConfigError } from "../errors.ts";
import { isPlainName, MissingFileError, type ReadableFolder, readTextBy } from "../folder.ts";
import { bytesSource } from "../safetensors/mod.ts";
import type { CheckpointStore, Files } from "../training/checkpoint.ts";

/** Files by name: bytes, or a text that is UTF-8 in the file. */
export type FileContents = ReadonlyMap<string, Uint8Array | string>;

/** What throws becomes a rejection. */
const attempt = <T>(act: () => T): Promise<T> => new Promise((resolve) => resolve(act()));

/** A folder of files in memory; the map may change, and is looked at in every call. */
export function memoryFolder(files: FileContents): ReadableFolder {
  const cannot = (name: string, why: string): string => `Cannot open file ${JSON.stringify(name)}: ${why}`;
  function checkName(name: string): void {
    if (!isPlainName(name)) throw new ConfigError(cannot(name, "the rule is a plain name, without folders"));
  }
  function bytesOf(name: string): Uint8Array {
    checkName(name);
    const content = files.get(name);
    if (content === undefined) throw new MissingFileError(cannot(name, "there is no such file"));
    return typeof content === "string" ? new TextEncoder().encode(content) : content;
  }
  const open: ReadableFolder["open"] = (name) => attempt(() => bytesSource(bytesOf(name)));
  return {
    open,
    readText: (name, options) => readTextBy(open, name, options),
    exists: (name) =>
      attempt(() => {
        checkName(name);
        return files.has(name);
      }),
  };
}

/** Adapters in memory by name, each the files of its folder; the map may change, and is looked at in every call. */
export function memoryAdapterStore(adapters: ReadonlyMap<string, FileContents>): AdapterStore {
  const versions = new WeakMap<FileContents, number>();
  let latest = 0;
  /** Of the map of an adapter's files: another map is another version. */
  function versionOf(files: FileContents): string {
    const version = versions.get(files) ?? ++latest;
    versions.set(files, version);
    return String(version);
  }
  return {
    list: () => Promise.resolve([...adapters.keys()]),
    open(id) {
      const files = adapters.get(id);
      const found = files &&
        { folder: memoryFolder(files), version: versionOf(files), modifiedUnixSeconds: 0 };
      return Promise.resolve(found);
    },
  };
}

const copyOf = (files: Files): Files => new Map([...files].map(([name, bytes]) => [name, bytes.slice()]));

/** The newest checkpoint of a run, in memory. */
export function memoryCheckpoints(): CheckpointStore {
  let newest: Files | undefined;
  return {
    save(_, files) {
      newest = copyOf(files);
      return Promise.resolve();
    },
    latest: () => Promise.resolve(newest && copyOf(newest)),
  };
}

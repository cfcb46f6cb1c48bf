/**
 * Adapters in a folder of folders; adding a folder is enough to serve it.
 *
 * @module
 */
import type { Dirent, Stats } from "node:fs";
import { lstat, readdir, realpath, stat } from "node:fs/promises";
import { basename, join, resolve, sep } from "node:path";
import { isAdapterName, nameFault, normalName } from "../adapters/names.ts";
import type { AdapterStore, LeftOut, StoredAdapter } from "../adapters/store.ts";
import { ConfigError, StoreError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { openFolder } from "./file.ts";

const files = ["adapter_config.json", "adapter_model.safetensors"];

/** How a folder of adapters is opened. */
export interface OpenAdapterStoreOptions {
  /**
   * Whether links that lead out of the folder are followed: of adapters' folders, and of files in them, as the Hugging Face
   * cache has them. Off by default, which is right for a folder that others fill.
   */
  readonly followLinks?: boolean;
}

const linkReason = "it is a link that leads out of the folder; followLinks (serve --follow-links) allows it";

/** A text that changes when a file does: also when the file is written in place and its old time is set again. */
const versionOf = (s: Stats | undefined): string =>
  s ? `${s.mtimeMs}:${s.ctimeMs}:${s.size}:${s.ino}` : "none";

/** A folder that is opened when it is first used. */
function lazily(open: () => Promise<ReadableFolder>): ReadableFolder {
  let opened: Promise<ReadableFolder> | undefined;
  const folder = (): Promise<ReadableFolder> =>
    opened ??= open().catch((error) => {
      opened = undefined;
      throw error;
    });
  return {
    open: async (name) => (await folder()).open(name),
    readText: async (name, options) => (await folder()).readText(name, options),
    exists: async (name) => (await folder()).exists(name),
  };
}

/** The adapter in a folder; undefined where there is no config. */
async function adapterAt(path: string, { contained }: { contained: boolean }): Promise<
  StoredAdapter | undefined
> {
  const [config, weights] = await Promise.all(
    files.map((name) => stat(join(path, name)).catch(() => undefined)),
  );
  if (!config) return undefined;
  return {
    folder: lazily(() => openFolder(path, { contained })),
    version: `${versionOf(config)},${versionOf(weights)}`,
    modifiedUnixSeconds: Math.floor((weights ?? config).mtimeMs / 1000),
  };
}

/** A folder's names are read again after so long, in any case. */
const trustedMs = 10_000;

/** Changes of a folder so shortly one after the other may have one time. */
const oneTimeMs = 2000;

/** The result of a look at the whole folder. */
interface Look {
  readonly names: readonly string[];
  readonly leftOut: readonly LeftOut[];
  /** Names as the disk has them, by the name they are asked for by, where the two differ. */
  readonly spelled: ReadonlyMap<string, string>;
  /** Of the folder when it was read. */
  readonly version: string;
  /** When it began, and when a look first saw that version: by a clock that never jumps, as the wall's does. */
  readonly beganMs: number;
  readonly seenMs: number;
}

class FolderStore implements AdapterStore {
  #look: Look | undefined;

  constructor(private readonly path: string, private readonly followLinks: boolean) {}

  /** The same list for as long as the folder says that nothing was added to it or taken away. */
  async list(): Promise<readonly string[]> {
    const folder = await this.#folder();
    const look = this.#look, version = versionOf(folder);
    const isSame = look?.version === version && look.beganMs - look.seenMs > oneTimeMs;
    if (!look || !isSame) return (await this.#lookAgain(folder)).names;
    // Links may lead elsewhere though the folder is the same: that shows a little later.
    if (performance.now() - look.beganMs > trustedMs) this.#lookAgain(folder).catch(() => {});
    return look.names;
  }

  async #lookAgain(folder: Stats): Promise<Look> {
    const beganMs = performance.now(), version = versionOf(folder), known = this.#look;
    const seenMs = known?.version === version ? known.seenMs : beganMs;
    const names: string[] = [], leftOut: LeftOut[] = [];
    for (const entry of await readdir(this.path, { withFileTypes: true })) {
      const { name } = entry;
      const reason = nameFault(normalName(name)) ?? await this.#fault(entry);
      if (reason === undefined) names.push(name);
      else leftOut.push({ name, reason });
    }
    const spelled = names.filter((name) => name !== normalName(name)).map((name) =>
      [normalName(name), name] as const
    );
    const look = { leftOut, spelled: new Map(spelled), version, beganMs, seenMs };
    // A look that began earlier saw less.
    if (this.#look && this.#look.beganMs > beganMs) return this.#look;
    return this.#look = { ...look, names: Object.freeze(names) };
  }

  /** The folder itself: one that has vanished is a store that fails, not one without adapters. */
  async #folder(): Promise<Stats> {
    const found = await stat(this.path).catch((cause) => {
      throw new StoreError("Cannot look into the folder of adapters: it is not there", { cause });
    });
    if (found.isDirectory()) return found;
    throw new StoreError("Cannot look into the folder of adapters: it is no folder");
  }

  leftOut(): readonly LeftOut[] {
    return this.#look?.leftOut ?? [];
  }

  /** Why an entry of the folder is left out. */
  async #fault(entry: Dirent): Promise<string | undefined> {
    if (entry.isDirectory()) return undefined;
    if (!entry.isSymbolicLink()) return "it is not a folder";
    const path = join(this.path, entry.name);
    const found = await stat(path).catch(() => undefined);
    if (!found) return "it is a link to nothing";
    if (!found.isDirectory()) return "it is a link to what is not a folder";
    return await this.#mayFollow(path) ? undefined : linkReason;
  }

  /** Whether the real path of a link may be read. */
  async #mayFollow(path: string): Promise<boolean> {
    if (this.followLinks) return true;
    const [root, real] = await Promise.all([realpath(this.path), realpath(path)]);
    return real.startsWith(root.endsWith(sep) ? root : root + sep);
  }

  async open(id: string): Promise<StoredAdapter | undefined> {
    if (!isAdapterName(id)) return undefined;
    const spellings = new Set([
      id,
      this.#look?.spelled.get(id) ?? id,
      id.normalize("NFC"),
      id.normalize("NFD"),
    ]);
    for (const name of spellings) {
      const path = join(this.path, name);
      // At once: who asks waits for each in turn.
      const [found, adapter] = await Promise.all([
        lstat(path).catch(() => undefined),
        adapterAt(path, { contained: !this.followLinks }),
      ]);
      if (!found || !(found.isDirectory() || found.isSymbolicLink())) continue;
      if (found.isSymbolicLink() && !await this.#mayFollow(path).catch(() => false)) return undefined;
      return adapter;
    }
    await this.#folder();
    return undefined;
  }
}

/**
 * Opens a folder whose sub-folders are PEFT adapters, found again at every look.
 *
 * A name may have capitals, spaces and letters of any script; it is compared in Unicode's form NFC. Names that begin with a
 * dot are hidden. What else is left out, `leftOut` says with the reason.
 *
 * @throws ConfigError when the path is no folder.
 */
export async function openAdapterStore(
  path: string,
  { followLinks = false }: OpenAdapterStoreOptions = {},
): Promise<AdapterStore> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) throw new ConfigError(`Cannot open adapters "${path}": it is not a folder`);
  return new FolderStore(resolve(path), followLinks);
}

/** A store of one adapter: its name is the one asked for where that may be one, else `adapter`. */
function singleStore(
  asked: string,
  open: () => Promise<StoredAdapter | undefined>,
): { readonly store: AdapterStore; readonly id: string } {
  const name = normalName(asked);
  const id = isAdapterName(name) ? name : "adapter";
  const store: AdapterStore = {
    list: () => Promise.resolve([id]),
    open: (name) => name === id ? open() : Promise.resolve(undefined),
  };
  return { store, id };
}

/**
 * A folder that does not change, as a store of the adapter that it holds.
 *
 * @param name Its name in the store where that may be one, else `adapter`.
 * @throws ConfigError when the folder has no adapter_config.json.
 */
export async function storeOfAdapter(
  folder: ReadableFolder,
  name: string,
): Promise<{ readonly store: AdapterStore; readonly id: string }> {
  if (!await folder.exists(files[0])) {
    throw new ConfigError(`Cannot open adapter "${name}": it has no ${files[0]}`);
  }
  const modifiedUnixSeconds = Math.floor(Date.now() / 1000);
  return singleStore(name, () => Promise.resolve({ folder, version: "fixed", modifiedUnixSeconds }));
}

/**
 * Opens one adapter's folder, wherever it lies and whatever its name is, as a store of that adapter alone.
 *
 * @returns the store, and the adapter's name in it: the folder's where that may be one, else `adapter`.
 * @throws ConfigError when the path is no folder, or has no adapter_config.json.
 */
export async function openSingleAdapter(
  path: string,
): Promise<{ readonly store: AdapterStore; readonly id: string }> {
  const folder = resolve(path);
  const found = await stat(folder).catch(() => undefined);
  if (!found?.isDirectory()) throw new ConfigError(`Cannot open adapter "${path}": it is not a folder`);
  if (!await adapterAt(folder, { contained: false })) {
    throw new ConfigError(`Cannot open adapter "${path}": it has no adapter_config.json`);
  }
  return singleStore(basename(folder), () => adapterAt(folder, { contained: false }));
}

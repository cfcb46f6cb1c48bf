/**
 * Adapters in a folder of folders; adding a folder is enough to serve it.
 *
 * @module
 */
import { readdir, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { adapterName, type AdapterStore, type StoredAdapter } from "../adapters/registry.ts";
import { ConfigError } from "../errors.ts";
import { openFolder } from "./file.ts";

const files = ["adapter_config.json", "adapter_model.safetensors"];

/**
 * Opens a folder whose sub-folders are PEFT adapters, found again at every look. Links that lead out of it are not followed.
 *
 * @throws ConfigError when the path is no folder.
 */
export async function openAdapterStore(path: string): Promise<AdapterStore> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) throw new ConfigError(`Cannot open adapters "${path}": it is not a folder`);
  const root = await realpath(path);
  return {
    async list() {
      const entries = await readdir(path, { withFileTypes: true });
      return entries.filter((entry) => entry.isDirectory() || entry.isSymbolicLink()).map(({ name }) => name);
    },
    async open(id) {
      if (!adapterName.test(id)) return undefined;
      const real = await realpath(join(root, id)).catch(() => undefined);
      if (!real?.startsWith(root + sep)) return undefined;
      return await adapterAt(real, { contained: true });
    },
  };
}

/** The adapter in a folder; undefined where there is no config. */
async function adapterAt(
  path: string,
  options: { readonly contained: boolean },
): Promise<StoredAdapter | undefined> {
  const stats = await Promise.all(files.map((name) => stat(join(path, name)).catch(() => undefined)));
  if (!stats[0]) return undefined;
  return {
    folder: await openFolder(path, options),
    version: stats.map((s) => s ? `${s.mtimeMs}:${s.size}:${s.ino}` : "none").join(),
    modifiedUnixSeconds: Math.floor((stats[1] ?? stats[0]).mtimeMs / 1000),
  };
}

/**
 * Opens one adapter's folder, wherever it lies and whatever its name is, as a store of that adapter alone. Its files may be
 * links, as in the Hugging Face cache.
 *
 * @throws ConfigError when the path is no folder, or has no adapter_config.json.
 */
export async function openSingleAdapter(
  path: string,
): Promise<{ readonly store: AdapterStore; readonly id: string }> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) throw new ConfigError(`Cannot open adapter "${path}": it is not a folder`);
  const open = () => adapterAt(path, { contained: false });
  if (!await open()) throw new ConfigError(`Cannot open adapter "${path}": it has no adapter_config.json`);
  const id = "adapter";
  return {
    id,
    store: {
      list: () => Promise.resolve([id]),
      open: async (asked) => asked === id ? await open() : undefined,
    },
  };
}

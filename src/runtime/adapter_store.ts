/**
 * Adapters in a folder of folders; adding a folder is enough to serve it.
 *
 * @module
 */
import { readdir, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { adapterName, type AdapterStore } from "../adapters/registry.ts";
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
      const stats = await Promise.all(files.map((name) => stat(join(real, name)).catch(() => undefined)));
      if (!stats[0]) return undefined;
      return {
        folder: await openFolder(real, { contained: true }),
        version: stats.map((s) => s ? `${s.mtimeMs}:${s.size}:${s.ino}` : "none").join(),
        modifiedUnixSeconds: Math.floor((stats[1] ?? stats[0]).mtimeMs / 1000),
      };
    },
  };
}

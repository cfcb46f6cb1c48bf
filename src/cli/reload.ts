/**
 * Reads a server's file again when it changes, and at SIGHUP: other tenants take their places while requests run.
 *
 * @module
 */
import { unwatchFile, watchFile } from "node:fs";
import process from "node:process";
import type { Tenants } from "../server/mod.ts";
import { type ConfigFile, readConfigFile } from "./config_file.ts";
import { log } from "./log.ts";

/** What is read again. */
export interface Reloading {
  readonly path: string;
  /** The file as it was read at the start. */
  readonly first: ConfigFile;
  /** The server's tenants; absent where it was started without. */
  readonly tenants?: Tenants;
}

/** How often the file is looked at. */
const lookEveryMs = 2000;

/** Names of settings that differ. */
function changedSettings(a: ConfigFile["settings"], b: ConfigFile["settings"]): string[] {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));
}

async function reload({ path, first, tenants }: Reloading): Promise<void> {
  const { settings, tenants: list } = await readConfigFile(path);
  const changed = changedSettings(first.settings, settings);
  if ((tenants === undefined) !== (list === undefined)) changed.push("tenants");
  else if (list) {
    await tenants!.replace(list);
    log(`read ${path} again, tenants: ${list.length}`);
  }
  if (changed.length > 0) log(`settings that change only when the server starts anew: ${changed.join(", ")}`);
}

/**
 * Watches a server's file.
 *
 * @returns What ends it.
 */
export function watchConfig(reloading: Reloading): () => void {
  // One after the other: what was read last must be what stays.
  let last: Promise<void> = Promise.resolve();
  const again = (): void => {
    last = last.then(() => reload(reloading)).catch((error) => {
      log(`the tenants stay as they were: ${(error as Error).message}`);
    });
  };
  process.on("SIGHUP", again);
  watchFile(reloading.path, { interval: lookEveryMs }, again);
  return () => {
    process.off("SIGHUP", again);
    unwatchFile(reloading.path, again);
  };
}

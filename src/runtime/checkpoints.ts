/**
 * Checkpoints in a folder, each complete or not there: written beside, synced, then renamed.
 *
 * @module
 */
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { makeFolder } from "./output.ts";
import { join } from "node:path";

/** Files by name. */
type Files = ReadonlyMap<string, Uint8Array>;

/** Checkpoints of one run. */
export interface CheckpointFolder {
  /** Keeps a step's files; then forgets all but the newest two, and later ones: they are of a run that this one replaces. */
  save(step: number, files: ReadonlyMap<string, Uint8Array>): Promise<void>;
  /** Files of the newest checkpoint; undefined when there is none. */
  latest(): Promise<ReadonlyMap<string, Uint8Array> | undefined>;
  /**
   * Writes files into the folder itself, each replaced whole. A reader meanwhile, or after a crash, finds the old
   * files, or the new files, or the last file missing. New files never stand beside an old file.
   */
  publish(files: ReadonlyMap<string, Uint8Array>): Promise<void>;
}

const nameOf = (step: number): string => `checkpoint-${String(step).padStart(8, "0")}`;
const kept = 2;

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes a rename last: a folder's entries are its own to sync. Not every system lets a folder be opened. */
async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, "r");
    await folder.sync();
    await folder.close();
  } catch {
    // Windows: the rename itself is what there is.
  }
}

/** Whether a file is not there, or holds other bytes. */
async function differs(path: string, bytes: Uint8Array): Promise<boolean> {
  const found = await readFile(path).catch(() => undefined);
  return !found?.equals(bytes);
}

/** Opens (and makes) a folder of checkpoints; what an interrupted write left is removed. */
export async function openCheckpoints(path: string): Promise<CheckpointFolder> {
  await makeFolder(path);
  for (const name of await readdir(path)) {
    if (name.endsWith(".partial")) await rm(join(path, name), { recursive: true, force: true });
  }
  const steps = async (): Promise<string[]> =>
    (await readdir(path)).filter((name) => /^checkpoint-\d{8,}$/.test(name)).sort();
  /** Renamed first, so that a half-removed one is never taken for a checkpoint. */
  async function forget(name: string): Promise<void> {
    const forgotten = join(path, `${name}.forgotten.partial`);
    await rename(join(path, name), forgotten);
    await rm(forgotten, { recursive: true, force: true });
  }

  return {
    async save(step, files) {
      const name = nameOf(step);
      const partial = join(path, `${name}.partial`);
      await rm(partial, { recursive: true, force: true });
      await mkdir(partial);
      for (const [file, bytes] of files) await writeSynced(join(partial, file), bytes);
      await syncFolder(partial);
      if ((await steps()).includes(name)) await forget(name);
      await rename(partial, join(path, name));
      await syncFolder(path);
      const present = await steps();
      const at = present.indexOf(name);
      for (const old of present.filter((_, i) => i > at || i <= at - kept)) await forget(old);
    },
    async latest() {
      const name = (await steps()).at(-1);
      if (!name) return undefined;
      const folder = join(path, name);
      const files = await readdir(folder);
      return new Map(
        await Promise.all(
          files.map(async (file) => [file, new Uint8Array(await readFile(join(folder, file)))] as const),
        ),
      );
    },
    async publish(files) {
      const names = [...files.keys()];
      const last = join(path, names[names.length - 1]);
      for (const name of names) await writeSynced(join(path, `${name}.partial`), files.get(name)!);
      const changed = await Promise.all(
        names.slice(0, -1).map((name) => differs(join(path, name), files.get(name)!)),
      );
      if (changed.includes(true)) {
        await rm(last, { force: true });
        await syncFolder(path);
      }
      for (const name of names) await rename(join(path, `${name}.partial`), join(path, name));
      await syncFolder(path);
    },
  };
}

/**
 * Checkpoints in a folder, each complete or not there: written beside, synced, then renamed.
 *
 * @module
 */
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";

/** Files by name. */
type Files = ReadonlyMap<string, Uint8Array>;

/** Checkpoints of one run. */
export interface CheckpointFolder {
  /** Keeps a step's files; then forgets all but the newest two. */
  save(step: number, files: Files): Promise<void>;
  /** Files of the newest checkpoint; undefined when there is none. */
  latest(): Promise<Files | undefined>;
  /** Writes files into the folder itself, each replaced whole. */
  publish(files: Files): Promise<void>;
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

/** Opens (and makes) a folder of checkpoints; what an interrupted write left is removed. */
export async function openCheckpoints(path: string): Promise<CheckpointFolder> {
  await mkdir(path, { recursive: true });
  for (const name of await readdir(path)) {
    if (name.endsWith(".partial")) await rm(join(path, name), { recursive: true, force: true });
  }
  const steps = async (): Promise<string[]> =>
    (await readdir(path)).filter((name) => /^checkpoint-\d{8,}$/.test(name)).sort();
  return {
    async save(step, files) {
      const name = nameOf(step);
      const partial = join(path, `${name}.partial`);
      await rm(partial, { recursive: true, force: true });
      await mkdir(partial);
      for (const [file, bytes] of files) await writeSynced(join(partial, file), bytes);
      await syncFolder(partial);
      await rm(join(path, name), { recursive: true, force: true });
      await rename(partial, join(path, name));
      await syncFolder(path);
      for (const old of (await steps()).slice(0, -kept)) {
        // Renamed first, so that a half-removed one is never taken for a checkpoint.
        await rename(join(path, old), join(path, `${old}.partial`));
        await rm(join(path, `${old}.partial`), { recursive: true, force: true });
      }
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
      for (const [file, bytes] of files) {
        await writeSynced(join(path, `${file}.partial`), bytes);
        await rename(join(path, `${file}.partial`), join(path, file));
      }
      await syncFolder(path);
    },
  };
}

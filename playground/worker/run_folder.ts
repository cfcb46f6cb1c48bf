/// <reference lib="dom" />
/// <reference lib="dom.asynciterable" />
/**
 * The run of training that a page keeps, in the origin's private files: what is learnt, its text, and its checkpoints.
 *
 *     fourierft-training/run.json              what the run is; written last, so that a run with it is whole
 *     fourierft-training/data                  the text
 *     fourierft-training/checkpoint-00000010/  a checkpoint's files, the curve, and "complete", which is written last
 *
 * @module
 */
import type { CheckpointStore, Files } from "fourierft";
import type { TrainJob } from "./protocol.ts";

/** What is used of a folder of private files. */
export type PrivateFolder = Pick<
  FileSystemDirectoryHandle,
  "getDirectoryHandle" | "getFileHandle" | "removeEntry" | "keys"
>;

/** The run's text. */
export const dataFile = "data";

/** The losses so far, among a checkpoint's files. */
export const curveFile = "curve.json";

const recordFile = "run.json", marker = "complete";

/** Checkpoints that are kept: the newest, and the one before. */
const kept = 2;

const nameOf = (step: number): string => `checkpoint-${String(step).padStart(8, "0")}`;

const isMissing = (error: unknown): boolean =>
  error instanceof DOMException && error.name === "NotFoundError";

/** Writes a file whole: what stood there before stays until the last byte is written. */
export async function writeFile(
  folder: PrivateFolder,
  name: string,
  content: Uint8Array | string | Blob,
): Promise<void> {
  const handle = await folder.getFileHandle(name, { create: true });
  if (typeof handle.createWritable !== "function") {
    throw new Error(
      `Cannot keep ${name}: this browser has no createWritable() of files (Safari has it from version 26 on)`,
    );
  }
  const writer = await handle.createWritable();
  try {
    await writer.write(content as Uint8Array<ArrayBuffer> | string | Blob);
    await writer.close();
  } catch (error) {
    await writer.abort().catch(() => {});
    if (!(error instanceof DOMException) || error.name !== "QuotaExceededError") throw error;
    throw new Error(`Cannot keep ${name}: the browser's storage for this page is full`, { cause: error });
  }
}

/** A file; undefined where there is none. */
export async function readFile(folder: PrivateFolder, name: string): Promise<File | undefined> {
  try {
    return await (await folder.getFileHandle(name)).getFile();
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Removes a file or a folder, if there is one. */
export async function remove(folder: PrivateFolder, name: string): Promise<void> {
  try {
    await folder.removeEntry(name, { recursive: true });
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** What a run is. */
export interface RunRecord {
  readonly job: TrainJob;
  /** The model's name, for people. */
  readonly model: string;
  /** What tells the model from others. */
  readonly key: string;
}

/** The run of a folder; undefined where there is none. */
export async function readRecord(folder: PrivateFolder): Promise<RunRecord | undefined> {
  const file = await readFile(folder, recordFile);
  return file && JSON.parse(await file.text());
}

/** Makes the folder a run's; its text stands there already. */
export const writeRecord = (folder: PrivateFolder, record: RunRecord): Promise<void> =>
  writeFile(folder, recordFile, JSON.stringify(record));

/** Makes the folder empty. The record goes first: without one, what is left is no run. */
export async function clear(folder: PrivateFolder): Promise<void> {
  await remove(folder, recordFile);
  const names: string[] = [];
  for await (const name of folder.keys()) names.push(name);
  for (const name of names) await remove(folder, name);
}

async function checkpointNames(folder: PrivateFolder): Promise<string[]> {
  const names: string[] = [];
  for await (const name of folder.keys()) if (/^checkpoint-\d{8,}$/.test(name)) names.push(name);
  return names.sort();
}

/** The files of a checkpoint; undefined for one that was not written whole, or that another tab has just replaced. */
async function filesOf(folder: PrivateFolder, name: string): Promise<Files | undefined> {
  try {
    const inside = await folder.getDirectoryHandle(name), names: string[] = [];
    for await (const file of inside.keys()) names.push(file);
    if (!names.includes(marker)) return undefined;
    const files = new Map<string, Uint8Array>();
    for (const file of names) {
      if (file === marker) continue;
      const found = await (await inside.getFileHandle(file)).getFile();
      files.set(file, new Uint8Array(await found.arrayBuffer()));
    }
    return files;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Checkpoints in a folder of private files, each complete or not there. */
export function checkpointsIn(folder: PrivateFolder): CheckpointStore {
  return {
    async save(step, files) {
      const name = nameOf(step);
      // The marker goes first: a half-removed checkpoint is none.
      if ((await checkpointNames(folder)).includes(name)) {
        await remove(await folder.getDirectoryHandle(name), marker);
        await remove(folder, name);
      }
      const inside = await folder.getDirectoryHandle(name, { create: true });
      for (const [file, bytes] of files) await writeFile(inside, file, bytes);
      await writeFile(inside, marker, "");
      const present = await checkpointNames(folder);
      const at = present.indexOf(name);
      for (const old of present.filter((_, i) => i > at || i <= at - kept)) {
        await remove(await folder.getDirectoryHandle(old), marker);
        await remove(folder, old);
      }
    },
    async latest() {
      for (const name of (await checkpointNames(folder)).reverse()) {
        const files = await filesOf(folder, name);
        if (files) return files;
      }
      return undefined;
    },
  };
}

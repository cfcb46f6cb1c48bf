/**
 * Opens what a `--model` or `--adapter` argument names: a folder of this machine, or a repository of the Hugging Face hub.
 *
 * @module
 */
import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import process from "node:process";
import { Presets, SingleBar } from "cli-progress";
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { openGguf } from "../models/gguf/folder.ts";
import { openFolder } from "../runtime/file.ts";
import { type HubProgress, openHubFolder } from "../runtime/hub/folder.ts";
import { parseHubName } from "../runtime/hub/repository.ts";

const logLine = (line: string): void => void process.stderr.write(`${line}\n`);
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

/** Files that are worth a word. */
const shownBytes = 1_000_000;

/** Shows the downloads of large files: a bar on a terminal, else a line as one begins. */
function downloadReporter(): { onProgress: (progress: HubProgress) => void } {
  let bar: { update(done: number, shown: object): void; stop(): void } | undefined;
  let current: string | undefined;
  return {
    onProgress({ file, doneBytes, totalBytes }) {
      if (totalBytes < shownBytes) return;
      if (file !== current) {
        bar?.stop();
        current = file;
        if (!process.stderr.isTTY) return logLine(`downloading ${file}, ${megabytes(totalBytes)} MB`);
        const made = new SingleBar({
          format: `${file} {bar} {done}/${megabytes(totalBytes)} MB, {eta_formatted} left`,
          stream: process.stderr,
          hideCursor: true,
        }, Presets.shades_classic);
        made.start(totalBytes, doneBytes, { done: megabytes(doneBytes) });
        bar = made;
      } else bar?.update(doneBytes, { done: megabytes(doneBytes) });
      if (doneBytes < totalBytes) return;
      bar?.stop();
      bar = current = undefined;
    },
  };
}

/** Whether an argument names a repository of the hub: no folder has its name, and it is written `org/name[@revision]`. */
export async function isHubName(text: string): Promise<boolean> {
  return parseHubName(text) !== undefined && await stat(text).then(() => false, () => true);
}

/** The folder and the name of a GGUF file here; undefined where an argument names none. */
async function ggufFile(text: string): Promise<{ folder: string; name: string } | undefined> {
  if (!/\.gguf$/i.test(text) || !await stat(text).then((found) => found.isFile(), () => false)) {
    return undefined;
  }
  return { folder: dirname(text), name: basename(text) };
}

/**
 * Opens a folder, a GGUF file, or `org/name[@revision]` of the hub where no folder has that name.
 *
 * @throws ConfigError when there is neither.
 */
export async function openNamedFolder(text: string): Promise<ReadableFolder> {
  const file = await ggufFile(text);
  if (file) return await openGguf(await openFolder(file.folder), file.name);
  const name = parseHubName(text);
  if (!name || !await isHubName(text)) return await openFolder(text);
  try {
    return await openHubFolder(name.repo, { revision: name.revision, log: logLine, ...downloadReporter() });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(`${error.message} (no folder here is called "${text}")`);
  }
}

/**
 * Opens what a `--model` or `--adapter` argument names: a folder of this machine, or a repository of the Hugging Face hub.
 *
 * @module
 */
import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { openGguf } from "../models/gguf/folder.ts";
import { openFolder } from "../runtime/file.ts";
import { type HubProgress, openHubFolder } from "../runtime/hub/folder.ts";
import { parseHubName } from "../runtime/hub/repository.ts";
import { canDraw, log, tellsEvents } from "./log.ts";
import { type Progress, progress } from "./progress.ts";
import { megabytes } from "./words.ts";

/** Files that are worth a word. */
const shownBytes = 1_000_000;

/** Shows the downloads of large files, one after the other. */
function downloadReporter(): { onProgress: (progress: HubProgress) => void } {
  let shown: { readonly file: string; readonly bar: Progress } | undefined;
  return {
    onProgress({ file, doneBytes, totalBytes }) {
      if (totalBytes < shownBytes) return;
      if (shown?.file !== file) {
        shown?.bar.stop();
        if (!canDraw() && !tellsEvents()) log(`downloading ${file}, ${megabytes(totalBytes)} MB`);
        shown = { file, bar: progress({ unit: "MB", name: file, shown: megabytes }) };
      }
      shown.bar.update(doneBytes, totalBytes);
      if (doneBytes < totalBytes) return;
      shown.bar.stop();
      shown = undefined;
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
    return await openHubFolder(name.repo, { revision: name.revision, log, ...downloadReporter() });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(`${error.message} (no folder here is called "${text}")`);
  }
}

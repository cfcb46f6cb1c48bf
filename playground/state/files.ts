/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * Files that a user drops or chooses, by the folders that they stand in.
 *
 * @module
 */
import type { NamedFile } from "../backend/backend.ts";

/** A folder's own files, by their plain names. */
export interface FileGroup {
  /** The folder's name; empty for files without one. */
  readonly name: string;
  readonly files: readonly NamedFile[];
}

/** Files and folders that are looked at: more are no model's, and no adapter's. */
const mostEntries = 5000;

/** Folders within folders that are looked into. */
const mostDepth = 4;

const tooMany = (): Error =>
  new Error(`Cannot take these files: there are more than ${mostEntries} files and folders`);

function entriesOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader(), found: FileSystemEntry[] = [];
  return new Promise((resolve, reject) => {
    // Chromium gives a hundred at a time.
    const more = (): void =>
      reader.readEntries((entries) => {
        found.push(...entries);
        if (entries.length === 0) resolve(found);
        else if (found.length > mostEntries) reject(tooMany());
        else more();
      }, reject);
    more();
  });
}

/** What a walk has met so far. */
interface Walk {
  readonly files: NamedFile[];
  entries: number;
}

async function walk(entry: FileSystemEntry, depth: number, found: Walk): Promise<void> {
  if (++found.entries > mostEntries) throw tooMany();
  const path = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject)
    );
    found.files.push({ path, file });
  } else if (depth < mostDepth) {
    for (const inner of await entriesOf(entry as FileSystemDirectoryEntry)) {
      await walk(inner, depth + 1, found);
    }
  }
}

/** The files of a drop, those of folders among them. To be called in the event: the browser forgets them after it. */
export async function droppedFiles(transfer: DataTransfer): Promise<readonly NamedFile[]> {
  const items = [...transfer.items].filter(({ kind }) => kind === "file");
  const taken = items.map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const found: Walk = { files: [], entries: 0 };
  for (const { entry, file } of taken) {
    if (entry) await walk(entry, 0, found);
    else if (file) found.files.push({ path: file.name, file });
  }
  return found.files;
}

/** The files of an `<input type="file">`. */
export function chosenFiles(files: Iterable<File>): readonly NamedFile[] {
  return [...files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/**
 * Files by the folder that they stand in.
 *
 * @throws Error for more files than are looked at.
 */
export function grouped(files: readonly NamedFile[]): readonly FileGroup[] {
  if (files.length > mostEntries) throw tooMany();
  const groups = new Map<string, NamedFile[]>();
  for (const { path, file } of files) {
    const at = path.lastIndexOf("/"), folder = path.slice(0, Math.max(0, at));
    const group = groups.get(folder) ?? [];
    group.push({ path: path.slice(at + 1), file });
    groups.set(folder, group);
  }
  return [...groups].map(([folder, own]) => ({
    name: folder.slice(folder.lastIndexOf("/") + 1),
    files: own,
  }));
}

const has = ({ files }: FileGroup, test: (name: string) => boolean): boolean =>
  files.some(({ path }) => test(path));

/** Whether a folder is a PEFT adapter's. */
export const isAdapter = (group: FileGroup): boolean => has(group, (name) => name === "adapter_config.json");

/** Whether files are a model: its folder, or a GGUF file. */
export const isModel = (group: FileGroup): boolean =>
  has(group, (name) => name === "config.json" || /\.gguf$/i.test(name));

/** A folder's name as an adapter may have it. */
export function adapterName({ name }: FileGroup): string {
  // deno-lint-ignore no-control-regex
  const plain = name.normalize("NFC").replace(/[\x00-\x1f\x7f-\x9f/\\:]/g, "-").replace(/^\.+/, "").slice(
    0,
    60,
  );
  return plain === "" ? "dropped-adapter" : plain;
}

/**
 * Folders of files to read and to write: of a model or an adapter, on a disk, in a bucket, behind URLs.
 *
 * @module
 */
import { ConfigError } from "./errors.ts";
import type { ByteSource } from "./safetensors/mod.ts";

/** A file that is not in its folder, or no longer: others may fill a folder while it is read. */
export class MissingFileError extends ConfigError {}

/** Files by plain name; every method throws ConfigError for a name that could lead elsewhere. */
export interface ReadableFolder {
  /**
   * Opens a file for reading by ranges; the caller closes it.
   *
   * @throws MissingFileError when there is no such file.
   */
  open(name: string): Promise<ByteSource>;
  /**
   * A whole UTF-8 file, of at most `maxBytes` (default 64 MiB).
   *
   * @throws MissingFileError when there is no such file; ConfigError when it is longer, or not UTF-8.
   */
  readText(name: string, options?: { readonly maxBytes?: number }): Promise<string>;
  /** Whether there is a file of that name. */
  exists(name: string): Promise<boolean>;
  /** A folder in this one; undefined where there is none of that name. Left out where there are files alone. */
  folder?(name: string): Promise<ReadableFolder | undefined>;
}

/** Whether a text names a file in a folder and can be no path to another place, on any system. */
export function isPlainName(name: string): boolean {
  // deno-lint-ignore no-control-regex
  return name.length <= 255 && /^[^/\\:\x00-\x1f]+$/.test(name) && !/^\.+$/.test(name);
}

/** The default of {@linkcode ReadableFolder.readText}. */
const maxTextBytes = 2 ** 26;

/**
 * {@linkcode ReadableFolder.readText} of a folder, by its `open`.
 *
 * @throws ConfigError when the file is longer than `maxBytes`, or not UTF-8; and what `open` throws.
 */
export async function readTextBy(
  open: ReadableFolder["open"],
  name: string,
  { maxBytes = maxTextBytes }: { readonly maxBytes?: number } = {},
): Promise<string> {
  const refused = (why: string): ConfigError =>
    new ConfigError(`Cannot open file ${JSON.stringify(name)}: ${why}`);
  const source = await open(name);
  try {
    if (source.sizeBytes > maxBytes) {
      throw refused(`it has ${source.sizeBytes} bytes, the limit is ${maxBytes}`);
    }
    const bytes = await source.read(0, source.sizeBytes);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      throw refused("it is not UTF-8");
    }
  } finally {
    await source.close?.();
  }
}

/** A folder being written: files appear under their names when they are complete. */
export interface WritableFolder {
  /** Writes a file from parts, in order. */
  write(name: string, parts: AsyncIterable<Uint8Array>): Promise<void>;
  /** Makes a folder in this one. Left out where there are files alone. */
  folder?(name: string): Promise<WritableFolder>;
}

const copyStepBytes = 16 << 20;

async function* partsOf(source: ByteSource): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < source.sizeBytes; at += copyStepBytes) {
    yield await source.read(at, Math.min(copyStepBytes, source.sizeBytes - at));
  }
}

/** Copies those of the named files that are there. */
export async function copyFiles(
  from: ReadableFolder,
  to: WritableFolder,
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    if (!await from.exists(name)) continue;
    const source = await from.open(name);
    try {
      await to.write(name, partsOf(source));
    } finally {
      await source.close?.();
    }
  }
}

/**
 * Copies those of the named files that are there, in a folder of a folder.
 *
 * @throws ConfigError where there are such files, and `to` has files alone.
 */
export async function copyInnerFiles(
  from: ReadableFolder,
  to: WritableFolder,
  { folder, names }: { readonly folder: string; readonly names: readonly string[] },
): Promise<void> {
  const inner = await from.folder?.(folder);
  const there = await Promise.all(names.map((name) => inner?.exists(name) ?? false));
  const found = names.filter((_, i) => there[i]);
  if (!inner || found.length === 0) return;
  if (!to.folder) throw new ConfigError(`Cannot copy ${folder}/${found[0]}: the output has no folders`);
  await copyFiles(inner, await to.folder(folder), found);
}

/**
 * A folder of files to read: of a model or an adapter, on a disk, in a bucket, behind URLs.
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
}

/** Whether a text names a file in a folder and can be no path to another place, on any system. */
export function isPlainName(name: string): boolean {
  // deno-lint-ignore no-control-regex
  return name.length <= 255 && /^[^/\\:\x00-\x1f]+$/.test(name) && !/^\.+$/.test(name);
}

/**
 * Files and folders on a disk, through `node:fs`, which Deno, Bun and Node have.
 *
 * @module
 */
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { ConfigError } from "../errors.ts";
import { isPlainName, MissingFileError, type ReadableFolder, readTextBy } from "../folder.ts";
import type { ByteSource } from "../safetensors/mod.ts";

/** Node refuses to read 2 GiB at once. */
const maxReadBytes = 2 ** 30;

function refused(name: string, why: string): ConfigError {
  return new ConfigError(`Cannot open file ${JSON.stringify(name)}: ${why}`);
}

function checkName(name: string): void {
  if (!isPlainName(name)) throw refused(name, "the rule is a plain name, without folders");
}

/** The system's no, without its message: that holds the whole path, which clients need not see. */
function refusedBySystem(file: string, error: unknown): ConfigError {
  const { code, name } = error as { code?: string; name: string };
  if (code !== "ENOENT" && code !== "ENOTDIR") return refused(file, `the system says ${code ?? name}`);
  return new MissingFileError(`Cannot open file ${JSON.stringify(file)}: there is no such file`);
}

async function readRange(file: FileHandle, { name, at, count }: { name: string; at: number; count: number }) {
  const bytes = new Uint8Array(count);
  for (let done = 0; done < count;) {
    const length = Math.min(count - done, maxReadBytes);
    const { bytesRead } = await file.read(bytes, done, length, at + done);
    if (bytesRead === 0) {
      throw refused(name, `it ends at byte ${at + done}, and ${count} bytes from ${at} on were asked for`);
    }
    done += bytesRead;
  }
  return bytes;
}

async function openRegular(path: string, name: string): Promise<ByteSource> {
  let file: FileHandle | undefined;
  try {
    // Before opening: to open a named pipe is to wait for its writer.
    if (!(await stat(path)).isFile()) throw refused(name, "it is not a regular file");
    file = await open(path, "r");
    const handle = file;
    return {
      sizeBytes: (await handle.stat()).size,
      read: (at, count) => readRange(handle, { name, at, count }),
      close: () => handle.close(),
    };
  } catch (error) {
    await file?.close();
    throw error instanceof ConfigError ? error : refusedBySystem(name, error);
  }
}

/**
 * Opens a file for reading by ranges; close it after.
 *
 * @throws ConfigError when it cannot be opened or is no regular file.
 */
export function openFile(path: string): Promise<ByteSource> {
  return openRegular(path, path);
}

/** How a folder is opened. */
export interface OpenFolderOptions {
  /**
   * Whether files must lie in the folder by their real paths: right for folders that others fill. Off by default,
   * since the Hugging Face cache's model folders are made of symbolic links that lead out of them.
   */
  readonly contained?: boolean;
}

/**
 * Opens a folder; its files are looked up at every call.
 *
 * @throws ConfigError when the path is no folder.
 */
export async function openFolder(path: string, options: OpenFolderOptions = {}): Promise<ReadableFolder> {
  const info = await stat(path).catch(() => undefined);
  if (!info?.isDirectory()) {
    throw new ConfigError(`Cannot open folder ${JSON.stringify(path)}: it is not a folder`);
  }
  const root = await realpath(path);

  async function locate(name: string): Promise<string> {
    checkName(name);
    if (!options.contained) return join(root, name);
    const real = await realpath(join(root, name)).catch((error) => {
      throw refusedBySystem(name, error);
    });
    if (!real.startsWith(root.endsWith(sep) ? root : root + sep)) {
      throw refused(name, "it is a link that leads out of its folder");
    }
    return real;
  }

  const openNamed = async (name: string): Promise<ByteSource> => await openRegular(await locate(name), name);
  return {
    open: openNamed,
    readText: (name, options) => readTextBy(openNamed, name, options),
    async exists(name) {
      checkName(name);
      const found = await stat(join(root, name)).catch(() => undefined);
      return found?.isFile() ?? false;
    },
    async folder(name) {
      checkName(name);
      const found = await stat(join(root, name)).catch(() => undefined);
      return found?.isDirectory() ? await openFolder(await locate(name), options) : undefined;
    },
  };
}

/**
 * Folders to write: a file appears under its name when it is complete.
 *
 * @module
 */
import { mkdir, open, readdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { ConfigError } from "../errors.ts";
import type { WritableFolder } from "../folder.ts";

/** Why a path cannot be written, by the system's code. */
const reasons: Readonly<Record<string, string>> = {
  EACCES: "it may not be written",
  EEXIST: "a file of that name is there",
  EISDIR: "it is a folder",
  ENAMETOOLONG: "its name is too long",
  ENOENT: "its folder is not there",
  ENOSPC: "the disk is full",
  ENOTDIR: "a part of its path is a file",
  EPERM: "it may not be written",
  EROFS: "the disk is read only",
};

/** What a call that writes to a path gives; a known error of the system is told in words. */
async function writing<T>(what: string, path: string, done: Promise<T>): Promise<T> {
  try {
    return await done;
  } catch (error) {
    const reason = reasons[(error as { code?: string }).code ?? ""];
    if (reason === undefined) throw error;
    throw new ConfigError(`Cannot write to ${what} "${path}": ${reason}`, { cause: error });
  }
}

/**
 * Makes a folder, and those that it is in.
 *
 * @returns The first folder that was not there; undefined where all were.
 * @throws ConfigError that says why the folder cannot be made.
 */
export async function makeFolder(path: string): Promise<string | undefined> {
  return await writing("folder", path, mkdir(path, { recursive: true }));
}

/**
 * Writes a file.
 *
 * @throws ConfigError that says why the file cannot be written.
 */
export async function writeNamedFile(path: string, bytes: Uint8Array): Promise<void> {
  await writing("file", path, writeFile(path, bytes));
}

/**
 * Checks that a folder holds nothing, or is not there. Interrupted writes leave `.partial` files, which do not count.
 *
 * @param remedy What else the caller may do, for the message.
 * @throws ConfigError when it holds files: nothing is overwritten.
 */
export async function checkEmpty(path: string, remedy = ""): Promise<void> {
  const listed = readdir(path).catch((error) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const there = await writing("folder", path, listed);
  const file = there.find((name) => !name.endsWith(".partial"));
  if (file === undefined) return;
  throw new ConfigError(`Cannot write to folder "${path}": it holds files already (${file})${remedy}`);
}

/**
 * Makes a folder to write to, or takes an empty one.
 *
 * @throws ConfigError when it holds files: nothing is overwritten.
 */
export async function createFolder(path: string): Promise<WritableFolder> {
  await makeFolder(path);
  await checkEmpty(path);
  return {
    folder: (name) => createFolder(join(path, name)),
    async write(name, parts) {
      const temporary = join(path, `${name}.partial`);
      const file = await open(temporary, "w");
      try {
        for await (const part of parts) await file.writeFile(part);
        await file.sync();
      } catch (error) {
        await file.close();
        await rm(temporary, { force: true });
        throw error;
      }
      await file.close();
      await rename(temporary, join(path, name));
    },
  };
}

/** A folder that notes the names of what is written to it. */
function noting(out: WritableFolder, names: Set<string>): WritableFolder {
  return {
    ...(out.folder ? { folder: (name) => (names.add(name), out.folder!(name)) } : {}),
    write: (name, parts) => (names.add(name), out.write(name, parts)),
  };
}

/** Removes empty folders, from `path` up to `first`. */
async function removeEmpty(path: string, first: string): Promise<void> {
  for (let at = resolve(path); at.startsWith(resolve(first)); at = dirname(at)) await rmdir(at);
}

/**
 * Makes a folder as {@linkcode createFolder} does and fills it. A fill that fails leaves nothing behind: neither files, nor
 * folders that were not there before.
 */
export async function fillFolder(path: string, fill: (out: WritableFolder) => Promise<void>): Promise<void> {
  const first = await makeFolder(path), names = new Set<string>();
  try {
    await fill(noting(await createFolder(path), names));
  } catch (error) {
    for (const name of names) await rm(join(path, name), { recursive: true, force: true });
    // Another program may have put something there meanwhile: it stays.
    if (first !== undefined) await removeEmpty(path, first).catch(() => {});
    throw error;
  }
}

/**
 * Folders to write: a file appears under its name when it is complete.
 *
 * @module
 */
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../errors.ts";
import type { WritableFolder } from "../folder.ts";

/**
 * Checks that a folder holds nothing, or is not there. Interrupted writes leave `.partial` files, which do not count.
 *
 * @param remedy What else the caller may do, for the message.
 * @throws ConfigError when it holds files: nothing is overwritten.
 */
export async function checkEmpty(path: string, remedy = ""): Promise<void> {
  const there = await readdir(path).catch((error) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
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
  await mkdir(path, { recursive: true });
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

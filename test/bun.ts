/**
 * Where Bun is.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";

const bunVersion = "1.4.5";

/** This runtime if it is Bun, else the one on PATH, else npm's. */
export function bunCommand(): string[] {
  if ("Bun" in globalThis) return [process.execPath];
  const folders = (process.env.PATH ?? "").split(delimiter);
  const found = folders.map((folder) => join(folder, "bun")).find((file) => existsSync(file));
  return found ? [found] : ["npx", "--yes", `bun@${bunVersion}`];
}

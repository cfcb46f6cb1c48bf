/**
 * Unpacks the binaries that npm's `@sparticuz/chromium` carries, once, into a cache under node_modules.
 *
 * @module
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const archives = join(root, "node_modules/@sparticuz/chromium/bin");
const cache = join(root, "node_modules/.cache/fourierft");

/** Plain files of a ustar archive by base name: headers of 512 bytes, contents padded to as much. */
export function tarFiles(tar: Uint8Array): Map<string, Uint8Array> {
  const text = (at: number, length: number): string =>
    new TextDecoder().decode(tar.subarray(at, at + length)).split("\0")[0];
  const files = new Map<string, Uint8Array>();
  let at = 0;
  while (at + 512 <= tar.length && tar[at] !== 0) {
    const size = parseInt(text(at + 124, 12), 8);
    const type = text(at + 156, 1);
    if (type === "" || type === "0") {
      files.set(basename(text(at, 100)), tar.subarray(at + 512, at + 512 + size));
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

/** The contents of one archive: `name.tar.br` holds files, `name.br` is one. */
function filesOf(archive: string): Map<string, Uint8Array> {
  const bytes = brotliDecompressSync(readFileSync(join(archives, archive)));
  return archive.endsWith(".tar.br") ? tarFiles(bytes) : new Map([[basename(archive, ".br"), bytes]]);
}

/** Whether the package is there to unpack; its binaries are for Linux on x86-64. */
export function hasArchives(): boolean {
  return process.platform === "linux" && process.arch === "x64" && existsSync(archives);
}

/**
 * The folder `name` of the cache with the files of the archives, unpacked on first use.
 *
 * Unpacks beside the final folder and renames, so that runs at the same time never see half of it.
 */
export function unpacked(name: string, archiveNames: readonly string[]): string {
  const target = join(cache, name);
  if (existsSync(target)) return target;
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(`${target}-`);
  for (const archive of archiveNames) {
    for (const [file, bytes] of filesOf(archive)) writeFileSync(join(folder, file), bytes, { mode: 0o755 });
  }
  try {
    renameSync(folder, target);
  } catch (error) {
    rmSync(folder, { recursive: true });
    if (!existsSync(target)) throw error;
  }
  return target;
}

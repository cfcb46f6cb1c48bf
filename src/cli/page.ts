/**
 * The playground's files, as they were built beside the sources.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { extname } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { Page, PageFile } from "../server/mod.ts";

/** Where `deno task serve` builds the page, and where the npm package has it. */
const builtPage = new URL("../../dist/playground/", import.meta.url);

const types: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".wasm": "application/wasm",
};

async function fileAt(url: URL): Promise<PageFile> {
  const body = new Uint8Array(await readFile(url));
  return {
    type: types[extname(url.pathname)] ?? "application/octet-stream",
    body,
    gzip: new Uint8Array(await promisify(gzip)(body)),
    version: createHash("sha256").update(body).digest("hex").slice(0, 32),
  };
}

/** Reads the built page; undefined where none was built. */
export async function readPage(folder: URL = builtPage): Promise<Page | undefined> {
  // Of a module that came from a registry by URL there are no files beside it.
  if (folder.protocol !== "file:") return undefined;
  const assets = await readdir(new URL("assets/", folder)).catch(() => undefined);
  if (!assets) return undefined;
  const paths = ["index.html", ...assets.map((name) => `assets/${name}`)];
  return new Map(
    await Promise.all(paths.map(async (path) => [path, await fileAt(new URL(path, folder))] as const)),
  );
}

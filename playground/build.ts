/**
 * Builds the page: `buildPlayground(folder)` writes index.html, playground.json and assets/, which any server of files
 * serves. `fourierft serve` serves them at `/`.
 *
 * @module
 */
import { transform } from "esbuild";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "rolldown";
import { relaxedWasmBytes, wasmBytes } from "../kernels/wasm_bytes.ts";

const here = dirname(fileURLToPath(import.meta.url));
/** The project's folder. */
export const root = dirname(here);

/** Where the built page is; `fourierft serve` looks here. */
export const playgroundFolder = join(root, "dist/playground");

/** The CPU device starts its threads' modules by URL: here they are files of their own beside the bundle. */
const threads: Plugin = {
  name: "threads",
  transform: {
    filter: { id: /src\/device\/open_cpu\.ts$/ },
    handler: (code) =>
      code.replace(/new URL\("\.\/(\w+)\.ts", import\.meta\.url\)/g, 'new URL("./$1.js", import.meta.url)'),
  },
};

/** The CPU device's WASM by the function that gives its bytes. */
const wasmFiles = { wasmBytes: "kernels.wasm", relaxedWasmBytes: "kernels_relaxed.wasm" } as const;

/** The function as one that asks for its file. */
const wasmFunction = ([name, file]: readonly [string, string]): string => `
  export function ${name}() {
    const request = new XMLHttpRequest();
    request.open("GET", new URL("./${file}", import.meta.url), false);
    request.responseType = "arraybuffer";
    request.send();
    if (request.status !== 200) throw new Error("Cannot load ${file}: the server says " + request.status);
    return new Uint8Array(request.response);
  }`;

/**
 * The CPU device's WASM stands beside the bundle: a page with a GPU does not load it. The library asks for bytes at once, and
 * a worker may wait for a request.
 */
const wasm: Plugin = {
  name: "wasm",
  load: {
    filter: { id: /kernels\/wasm_bytes\.ts$/ },
    handler: () => ({ code: Object.entries(wasmFiles).map(wasmFunction).join("\n"), moduleType: "js" }),
  },
};

/** Builds the page into a folder; what is there already is replaced when the new page is whole. */
export async function buildPlayground(folder: string): Promise<BuiltScripts> {
  mkdirSync(dirname(folder), { recursive: true });
  const fresh = mkdtempSync(`${folder}-`);
  try {
    const scripts = await writePage(fresh);
    rmSync(folder, { recursive: true, force: true });
    renameSync(fresh, folder);
    return scripts;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** The page's scripts. Each runs on a thread of its own. */
const entries = {
  page: join(here, "page.tsx"),
  worker: join(here, "worker/worker.ts"),
  cpu_worker: join(root, "src/device/cpu_worker.ts"),
  cpu_helper: join(root, "src/device/cpu_helper.ts"),
} as const;

/** A script of the built page. */
export interface BuiltScript {
  /** Scripts that come with it. */
  readonly imports: readonly string[];
  /** The module that it was made for, in the project's folder; absent of what several share. */
  readonly source?: string;
}

/** The built page's scripts, by their paths in its folder. */
export type BuiltScripts = ReadonlyMap<string, BuiltScript>;

/** Writes a script; what it loads late are files of their own. */
async function writeScript(dir: string, input: Readonly<Record<string, string>>): Promise<BuiltScripts> {
  const { output } = await build({
    cwd: root,
    input,
    platform: "browser",
    transform: { target: "es2023", jsx: { runtime: "automatic", importSource: "preact" } },
    plugins: [threads, wasm],
    logLevel: "warn",
    // What two late parts share is not put into one of them, which would come with the other.
    experimental: { chunkOptimization: { mergeCommonChunks: false } },
    output: {
      dir,
      entryFileNames: "[name].js",
      chunkFileNames: "[name]-[hash].js",
      minify: true,
    },
  });
  const placed = (name: string): string => `assets/${name}`;
  return new Map(
    output.filter((file) => file.type === "chunk").map((chunk) => {
      const source = chunk.facadeModuleId === null ? {} : { source: relative(root, chunk.facadeModuleId) };
      return [placed(chunk.fileName), { imports: chunk.imports.map(placed), ...source }];
    }),
  );
}

async function writePage(folder: string): Promise<BuiltScripts> {
  const scripts = new Map<string, BuiltScript>();
  // Apart: what two of them shared would be in files of its own, and the worker's modules in many.
  for (const [name, path] of Object.entries(entries)) {
    for (const [file, script] of await writeScript(join(folder, "assets"), { [name]: path })) {
      scripts.set(file, script);
    }
  }
  const { code: style } = await transform(readFileSync(join(here, "style.css"), "utf8"), {
    ...{ loader: "css", minify: true, target: "es2023" },
  });
  writeFileSync(join(folder, "assets/style.css"), style);
  writeFileSync(join(folder, "assets", wasmFiles.wasmBytes), wasmBytes());
  writeFileSync(join(folder, "assets", wasmFiles.relaxedWasmBytes), relaxedWasmBytes());
  copyFileSync(join(here, "index.html"), join(folder, "index.html"));
  writeFileSync(join(folder, "playground.json"), `${JSON.stringify({ models: [] }, null, 2)}\n`);
  return scripts;
}

if (import.meta.main) await buildPlayground(playgroundFolder);

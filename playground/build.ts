/**
 * Builds the page: `buildPlayground(folder)` writes index.html, playground.json and assets/, which any server of files
 * serves. `fourierft serve` serves them at `/`.
 *
 * @module
 */
import { build, type Plugin } from "esbuild";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { relaxedWasmBytes, wasmBytes } from "../kernels/wasm_bytes.ts";

const here = dirname(fileURLToPath(import.meta.url));
/** The project's folder. */
export const root = dirname(here);

/** Where the built page is; `fourierft serve` looks here. */
export const playgroundFolder = join(root, "dist/playground");

/** The CPU device starts its threads' modules by URL: here they are files of their own beside the bundle. */
const threads: Plugin = {
  name: "threads",
  setup({ onLoad }) {
    onLoad({ filter: /src\/device\/open_cpu\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, "utf8").replace(
        /new URL\("\.\/(\w+)\.ts", import\.meta\.url\)/g,
        'new URL("./$1.js", import.meta.url)',
      ),
      loader: "ts",
    }));
  },
};

/** The CPU device's WASM by the function that gives its bytes. */
const wasmFiles = { wasmBytes: "kernels.wasm", relaxedWasmBytes: "kernels_relaxed.wasm" } as const;

/**
 * The CPU device's WASM stands beside the bundle: a page with a GPU does not load it. The library asks for bytes at once, and
 * a worker may wait for a request.
 */
const wasm: Plugin = {
  name: "wasm",
  setup({ onLoad }) {
    const functions = Object.entries(wasmFiles).map(([name, file]) => `
      export function ${name}() {
        const request = new XMLHttpRequest();
        request.open("GET", new URL("./${file}", import.meta.url), false);
        request.responseType = "arraybuffer";
        request.send();
        if (request.status !== 200) throw new Error("Cannot load ${file}: the server says " + request.status);
        return new Uint8Array(request.response);
      }`);
    onLoad({ filter: /kernels\/wasm_bytes\.ts$/ }, () => ({ contents: functions.join("\n"), loader: "js" }));
  },
};

/** Builds the page into a folder; what is there already is replaced when the new page is whole. */
export async function buildPlayground(folder: string): Promise<void> {
  mkdirSync(dirname(folder), { recursive: true });
  const fresh = mkdtempSync(`${folder}-`);
  try {
    await writePage(fresh);
    rmSync(folder, { recursive: true, force: true });
    renameSync(fresh, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

async function writePage(folder: string): Promise<void> {
  await build({
    entryPoints: {
      page: join(here, "page.tsx"),
      worker: join(here, "worker/worker.ts"),
      cpu_worker: join(root, "src/device/cpu_worker.ts"),
      cpu_helper: join(root, "src/device/cpu_helper.ts"),
      style: join(here, "style.css"),
    },
    outdir: join(folder, "assets"),
    chunkNames: "[name]-[hash]",
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2023",
    minify: true,
    jsx: "automatic",
    jsxImportSource: "preact",
    absWorkingDir: root,
    plugins: [threads, wasm],
    logLevel: "warning",
  });
  writeFileSync(join(folder, "assets", wasmFiles.wasmBytes), wasmBytes());
  writeFileSync(join(folder, "assets", wasmFiles.relaxedWasmBytes), relaxedWasmBytes());
  copyFileSync(join(here, "index.html"), join(folder, "index.html"));
  writeFileSync(join(folder, "playground.json"), `${JSON.stringify({ models: [] }, null, 2)}\n`);
}

if (import.meta.main) await buildPlayground(playgroundFolder);

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
import { type ESTree, parseSync, Visitor } from "rolldown/utils";
import type { Kernel } from "../kernels/kernel.ts";
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

/** Where a script of the page computes. */
type ComputesOn = "webgpu" | "cpu";

/** Where each field of a kernel is used in the page: on either device, on one, or nowhere. */
const fieldUse: Readonly<Record<keyof Kernel, ComputesOn | "either" | "nowhere">> = {
  name: "either",
  doc: "nowhere",
  buffers: "either",
  uniforms: "either",
  launch: "webgpu",
  ways: "webgpu",
  reference: "cpu",
  cpu: "cpu",
  wasm: "cpu",
  produce: "webgpu",
  adds: "webgpu",
  together: "webgpu",
  consume: "webgpu",
  relay: "webgpu",
  backward: "either",
  tolerance: "nowhere",
};

/** The text without properties of these names. */
function withoutProperties(code: string, names: ReadonlySet<string>): string {
  const dropped: [from: number, to: number][] = [];
  const isDropped = (property: ESTree.ObjectPropertyKind): boolean =>
    property.type === "Property" && property.key.type === "Identifier" && names.has(property.key.name);
  new Visitor({
    ObjectExpression({ properties, end }) {
      // Each goes with all before its follower, or before the bracket.
      properties.forEach((property, i) => {
        if (isDropped(property)) dropped.push([property.start, properties[i + 1]?.start ?? end - 1]);
      });
    },
  }).visit(parseSync("kernel.ts", code).program);
  let text = "", at = 0;
  // An object's own start comes before those of the objects in it.
  for (const [from, to] of dropped.toSorted(([a], [b]) => a - b)) {
    if (from < at) continue;
    text += code.slice(at, from);
    at = to;
  }
  return text + code.slice(at);
}

/** A device's kernels have what the device uses; what only the dropped fields used is then dropped by the bundler. */
function kernelsFor(device: ComputesOn): Plugin {
  const dropped = new Set(
    Object.entries(fieldUse).filter(([, use]) => use !== device && use !== "either").map(([name]) => name),
  );
  return {
    name: "kernels",
    transform: {
      order: "pre",
      filter: { id: /\/kernels\/.*\.ts$/ },
      handler: (code) => withoutProperties(code, dropped),
    },
  };
}

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

/** A script that runs on a thread of its own. */
interface Entry {
  readonly path: string;
  /** Absent of the page itself. */
  readonly computesOn?: ComputesOn;
}

/** The page's scripts. `playground/backend/browser.ts` starts the worker of the device on which a model is opened. */
const entries: Readonly<Record<string, Entry>> = {
  page: { path: join(here, "page.tsx") },
  worker_webgpu: { path: join(here, "worker/worker.ts"), computesOn: "webgpu" },
  worker_cpu: { path: join(here, "worker/worker.ts"), computesOn: "cpu" },
  cpu_worker: { path: join(root, "src/device/cpu_worker.ts"), computesOn: "cpu" },
  cpu_helper: { path: join(root, "src/device/cpu_helper.ts"), computesOn: "cpu" },
};

/** A script of the built page. */
export interface BuiltScript {
  /** The name of the script that it was built with. */
  readonly entry: string;
  /** Scripts that come with it. */
  readonly imports: readonly string[];
  /** The module that it was made for, in the project's folder; absent of what several share. */
  readonly source?: string;
}

/** The built page's scripts, by their paths in its folder. */
export type BuiltScripts = ReadonlyMap<string, BuiltScript>;

/** Writes a script; what it loads late are files of their own. */
async function writeScript(dir: string, entry: string): Promise<BuiltScripts> {
  const { path, computesOn } = entries[entry];
  const { output } = await build({
    cwd: root,
    input: { [entry]: path },
    platform: "browser",
    transform: { target: "es2023", jsx: { runtime: "automatic", importSource: "preact" } },
    plugins: [threads, wasm, ...(computesOn ? [kernelsFor(computesOn)] : [])],
    logLevel: "warn",
    checks: { pluginTimings: false },
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
      return [placed(chunk.fileName), { entry, imports: chunk.imports.map(placed), ...source }];
    }),
  );
}

async function writePage(folder: string): Promise<BuiltScripts> {
  const scripts = new Map<string, BuiltScript>();
  // Apart: what two of them shared would be in files of its own, and the worker's modules in many.
  for (const entry of Object.keys(entries)) {
    for (const [file, script] of await writeScript(join(folder, "assets"), entry)) {
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

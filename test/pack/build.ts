/**
 * Builds the npm package: JavaScript and declarations by `deno pack`, with the manifest npm's users need.
 *
 * `deno task pack` writes dist/fourierft-VERSION.tgz.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { wasmBytes } from "../../kernels/wasm_bytes.ts";
import { sourcesUnder } from "../architecture.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Packages that are imported by name at run time only, which `deno pack` cannot see. */
const needed = ["@hono/node-server"];
/** The same for those that the package works without: a GPU needs Dawn, the CPU device does not. */
const optional = ["webgpu"];

/** The CPU device's WASM as a file: platforms that compile nothing at run time take it compiled from here. */
const wasmFile = "./kernels.wasm";

/** A worker's module: in deno.json a door, so that `deno pack` compiles it; to users it is none. */
const workerDoor = "./cpu-worker";
/** Who names it by a URL, which `deno pack` leaves as it is. */
const workerOpener = "src/runtime/open_cpu.js";

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly dependencies: Readonly<Record<string, string>>;
}

const readJson = (path: string): Manifest => JSON.parse(readFileSync(path, "utf8"));

/** Runtime modules in our sources: a bundler for browsers puts an empty module in their place. */
function runtimeModules(): Record<string, false> {
  const imported = sourcesUnder("src").flatMap(({ imports }) => imports.map(({ target }) => target));
  const names = [...new Set(imported.filter((target) => target.startsWith("node:")))].sort();
  return Object.fromEntries(names.map((name) => [name, false]));
}

/** What `deno pack` made of deno.json, with the rest of what npm and bundlers look for. */
function manifest(packed: Manifest, own: Manifest): Record<string, unknown> {
  const versions = (names: readonly string[]): Record<string, string> =>
    Object.fromEntries(names.map((name) => [name, own.dependencies[name]]));
  const { [workerDoor]: _, ...exports } = packed.exports;
  return {
    ...packed,
    name: own.name,
    exports: { ...exports, [wasmFile]: wasmFile },
    description: "PEFT adapters (FourierFT, LoRA) chosen per request, on WebGPU and CPU",
    engines: { node: ">=20" },
    bin: { [own.name]: "./src/cli/main.js" },
    browser: runtimeModules(),
    sideEffects: ["./src/cli/main.js", "./src/runtime/cpu_worker.js"],
    dependencies: { ...packed.dependencies, ...versions(needed) },
    optionalDependencies: versions(optional),
  };
}

/** Names compiled modules in URLs as imports do. */
function compiledUrls(text: string): string {
  const named = text.replaceAll(
    /new URL\("(\.\/[a-z_]+)\.ts", import\.meta\.url\)/g,
    'new URL("$1.js", import.meta.url)',
  );
  if (named === text) throw new Error(`Cannot build the package: ${workerOpener} names no module by a URL`);
  return named;
}

/** Builds the tarball and returns its path. */
export function buildPackage(): string {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-pack-"));
  const run = (command: string, args: readonly string[]): void => {
    execFileSync(command, args, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  };
  try {
    const raw = join(folder, "raw.tgz");
    // The repository's own package.json would take the place of the one that is made.
    run(process.execPath, ["pack", "--quiet", "--allow-dirty", "--ignore=package.json", "--output", raw]);
    run("tar", ["-xzf", raw, "-C", folder]);
    const path = join(folder, "package/package.json");
    const own = readJson(join(root, "package.json"));
    writeFileSync(path, JSON.stringify(manifest(readJson(path), own), null, 2) + "\n");
    writeFileSync(join(folder, "package", wasmFile), wasmBytes());
    const opener = join(folder, "package", workerOpener);
    writeFileSync(opener, compiledUrls(readFileSync(opener, "utf8")));
    const out = join(root, "dist", `${own.name}-${own.version}.tgz`);
    mkdirSync(dirname(out), { recursive: true });
    run("tar", ["-czf", out, "-C", folder, "package"]);
    return out;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (import.meta.main) console.log(buildPackage());

/**
 * Builds the npm package: the compiled sources, with the manifest npm's users need.
 *
 * `deno task pack` writes dist/fourierft-VERSION.tgz.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { wasmBytes } from "../../kernels/wasm_bytes.ts";
import { buildPlayground } from "../../playground/build.ts";
import { root } from "../architecture.ts";
import { compile } from "./compile.ts";

/** Packages that the package works without: a GPU needs Dawn, the CPU device does not. */
const optional = ["webgpu"];

/** Packages that most users never need. */
const peers = [
  // For the door `fourierft/testing`.
  "fast-check",
  // For object stores, and two of their drivers.
  "unstorage",
  "aws4fetch",
  "ioredis",
  // For the pictures of `fourierft inspect`.
  "@observablehq/plot",
  "linkedom",
  "@resvg/resvg-wasm",
  "@fontsource/inter",
];

/** The CPU device's WASM as a file: platforms that compile nothing at run time take it compiled from here. */
const wasmFile = "./kernels.wasm";
const wasmTypes = `import type { WebAssemblyModule } from "./platform_types.js";
/** The CPU device's WASM, compiled: what bundlers and platforms for Workers make of the import. */
declare const module: WebAssemblyModule;
export default module;
`;

const command = "src/cli/main.js";

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

/** A door of the package: what it is in the sources, as a manifest names it. */
function door(source: string): Record<string, string> {
  const file = source.replace(/\.ts$/, "");
  return { types: `${file}.d.ts`, default: `${file}.js` };
}

/** @param started Modules that are started by their URL: bundlers must not drop them. */
function manifest(own: Manifest, started: readonly string[]): Record<string, unknown> {
  const needed = Object.entries(own.dependencies).filter(([name]) => !optional.includes(name));
  return {
    name: own.name,
    version: own.version,
    description: "PEFT adapters (FourierFT, LoRA) chosen per request, on WebGPU and CPU",
    license: own.license,
    type: "module",
    engines: { node: ">=20" },
    bin: { [own.name]: command },
    exports: {
      ...Object.fromEntries(Object.entries(own.exports).map(([name, source]) => [name, door(source)])),
      [wasmFile]: { types: `${wasmFile}.d.ts`, default: wasmFile },
      "./package.json": "./package.json",
    },
    sideEffects: [`./${command}`, ...new Set(started.map((path) => `./${path}`))],
    dependencies: Object.fromEntries(needed.map(([name, version]) => [name, `^${version}`])),
    peerDependencies: Object.fromEntries(peers.map((name) => [name, `^${own.devDependencies[name]}`])),
    peerDependenciesMeta: Object.fromEntries(peers.map((name) => [name, { optional: true }])),
    optionalDependencies: Object.fromEntries(optional.map((name) => [name, own.dependencies[name]])),
  };
}

/** README, and what it links to. */
function documents(): string[] {
  const docs = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(?:md|png)$/.test(name));
  return ["README.md", "LICENSE", ...docs.map((name) => `docs/${name}`)];
}

/** Builds the tarball, with the playground in it, and returns its path. */
export async function buildPackage(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-pack-"));
  try {
    const inside = join(folder, "package");
    const own: Manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const started = compile(inside);
    writeFileSync(join(inside, "package.json"), JSON.stringify(manifest(own, started), null, 2) + "\n");
    writeFileSync(join(inside, wasmFile), wasmBytes());
    writeFileSync(join(inside, `${wasmFile}.d.ts`), wasmTypes);
    chmodSync(join(inside, command), 0o755);
    await buildPlayground(join(inside, "dist/playground"));
    mkdirSync(join(inside, "docs/pictures"), { recursive: true });
    for (const file of documents()) copyFileSync(join(root, file), join(inside, file));
    const out = join(root, "dist", `${own.name}-${own.version}.tgz`);
    mkdirSync(dirname(out), { recursive: true });
    execFileSync("tar", ["-czf", out, "-C", folder, "package"], { stdio: ["ignore", "ignore", "inherit"] });
    return out;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (import.meta.main) console.log(await buildPackage());

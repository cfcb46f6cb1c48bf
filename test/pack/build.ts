/**
 * Builds the npm package: the compiled sources, with the manifest npm's users need.
 *
 * `deno task pack` writes dist/fourierft-VERSION.tgz.
 *
 * @module
 */
import { chmodSync, copyFileSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { wasmBytes } from "../../kernels/wasm_bytes.ts";
import { buildPlayground } from "../../playground/build.ts";
import { root } from "../architecture.ts";
import { compile } from "./compile.ts";
import { commonFields, door, type Manifest, ownManifest, packed } from "./manifest.ts";

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

/** @param started Modules that are started by their URL: bundlers must not drop them. */
function manifest(own: Manifest, started: readonly string[]): Record<string, unknown> {
  const needed = Object.entries(own.dependencies).filter(([name]) => !optional.includes(name));
  return {
    name: own.name,
    description: own.description,
    keywords: own.keywords,
    ...commonFields(own),
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

/** README, what it links to, and the pictures there. */
function documents(): string[] {
  const docs = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(?:md|png|svg)$/.test(name));
  return ["README.md", "LICENSE", ...docs.map((name) => `docs/${name}`)];
}

/** Builds the tarball, with the playground in it, and returns its path. */
export async function buildPackage(): Promise<string> {
  const own = ownManifest();
  return await packed(own, async (inside) => {
    const started = compile(inside);
    writeFileSync(join(inside, wasmFile), wasmBytes());
    writeFileSync(join(inside, `${wasmFile}.d.ts`), wasmTypes);
    chmodSync(join(inside, command), 0o755);
    await buildPlayground(join(inside, "dist/playground"));
    mkdirSync(join(inside, "docs/pictures"), { recursive: true });
    for (const file of documents()) copyFileSync(join(root, file), join(inside, file));
    return manifest(own, started);
  });
}

if (import.meta.main) console.log(await buildPackage());

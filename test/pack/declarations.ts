/**
 * Types of platforms in the package's declarations.
 *
 * WebGPU's and WebAssembly's types are globals of TypeScript's `dom` library, since TypeScript 6, and of
 * `@webgpu/types` before. Both together conflict, and a program may have neither. The declarations take the types of
 * the program that uses them, and an opaque object where there are none.
 *
 * @module
 */
import { dirname, relative } from "node:path";

/** The file that holds them. */
export const globalTypesFile = "platform_types.d.ts";

const interfaces = [
  "GPU",
  "GPUAdapter",
  "GPUAdapterInfo",
  "GPUBindGroup",
  "GPUBindGroupLayout",
  "GPUBuffer",
  "GPUCommandBuffer",
  "GPUCommandEncoder",
  "GPUComputePassEncoder",
  "GPUComputePipeline",
  "GPUDevice",
  "GPUPipelineLayout",
  "GPUQuerySet",
  "GPUQueue",
  "GPUShaderModule",
  "GPUSupportedFeatures",
  "GPUSupportedLimits",
];
const texts = ["GPUFeatureName"];
const wasm = ["Memory", "Module", "Instance"];

const known: readonly string[] = [...interfaces, ...texts, ...wasm.map((name) => `WebAssembly${name}`)];

/** Text of {@linkcode globalTypesFile}. */
export function globalTypes(): string {
  const found = (name: string, shape: string): string =>
    `export type ${name} = typeof globalThis extends ${shape} ? T : object;\n`;
  return [
    "/** Types of the platform: those of the program that uses this package, opaque objects where it has none. */\n",
    ...interfaces.map((name) => found(name, `{ ${name}: { prototype: infer T } }`)),
    "/** A feature's name, as WebGPU has them. */\n",
    ...texts.map((name) => `export type ${name} = string;\n`),
    ...wasm.map((name) =>
      found(`WebAssembly${name}`, `{ WebAssembly: { ${name}: { prototype: infer T } } }`)
    ),
  ].join("");
}

const withoutComments = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");

/**
 * Declarations whose platform types come from {@linkcode globalTypesFile}.
 *
 * @throws Error for a platform type that is not known there.
 */
export function declareGlobals(path: string, code: string): string {
  const text = code.replace(/\bWebAssembly\.(Memory|Module|Instance)\b/g, "WebAssembly$1");
  const used = [...new Set(withoutComments(text).match(/\b(GPU(?:[A-Z]\w*)?|WebAssembly\w*)\b/g) ?? [])]
    .sort();
  const unknown = used.find((name) => !known.includes(name));
  if (unknown) throw new Error(`Cannot publish "${path}": the platform's type ${unknown} has no declaration`);
  if (used.length === 0) return text;
  const way = relative(dirname(path), globalTypesFile.replace(/\.d\.ts$/, ".js"));
  return `import type { ${used.join(", ")} } from "${way.startsWith(".") ? way : `./${way}`}";\n${text}`;
}

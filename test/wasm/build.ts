/**
 * Compiles kernels/assembly/ (AssemblyScript) to WASM: `deno task build:wasm` writes kernels/wasm_bytes.ts, which a test
 * compares with what the sources give.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { main } from "assemblyscript/asc";
import { root } from "../architecture.ts";

const entry = "kernels/assembly/index.ts";
const options = [
  "--runtime",
  "stub",
  "--importMemory",
  "--initialMemory",
  "16",
  "--noAssert",
  "-O3",
  "--enable",
  "simd",
];
const relaxedOptions = ["--enable", "relaxed-simd"];
/** Vectors stay within the module; asc warns of every exported function that takes one, the entry's or not. */
const quiet = ["--disableWarning", "112"];

/** The bytes of one module. */
async function compileModule(more: readonly string[]): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined;
  const { error, stderr } = await main([entry, "--outFile", "kernels.wasm", ...options, ...more, ...quiet], {
    readFile(name, base) {
      try {
        return readFileSync(join(root, base, name), "utf8");
      } catch {
        return null;
      }
    },
    writeFile(_name, contents) {
      bytes = Uint8Array.from(contents as Uint8Array);
    },
    listFiles: () => [],
  });
  if (error || !bytes) throw new Error(`Cannot compile ${entry}: ${stderr.toString()}`, { cause: error });
  return bytes;
}

/** Both modules' bytes. */
export interface Modules {
  readonly plain: Uint8Array;
  readonly relaxed: Uint8Array;
}

/** Compiles both modules of the same sources. */
export async function compile(): Promise<Modules> {
  return { plain: await compileModule([]), relaxed: await compileModule(relaxedOptions) };
}

/** A module's bytes as an expression of base64. */
function base64(bytes: Uint8Array): string {
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return text.match(/.{1,106}/g)!.map((line) => `  "${line}"`).join(" +\n");
}

/** The file that carries the bytes to every runtime and bundler. */
export function bytesModule({ plain, relaxed }: Modules): string {
  return `/**
 * The functions of kernels/assembly/ as WASM, written by \`deno task build:wasm\`: ${plain.length} bytes, and
 * ${relaxed.length} bytes with relaxed SIMD.
 *
 * @module
 */

// deno-fmt-ignore
const plain =
${base64(plain)};

// deno-fmt-ignore
const relaxed =
${base64(relaxed)};

const decoded = (base64: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

/** The bytes of the module that needs SIMD alone, to be compiled. */
export function wasmBytes(): Uint8Array<ArrayBuffer> {
  return decoded(plain);
}

/** The bytes of the module that needs relaxed SIMD: faster where the processor multiplies and adds at once. */
export function relaxedWasmBytes(): Uint8Array<ArrayBuffer> {
  return decoded(relaxed);
}
`;
}

if (import.meta.main) {
  const modules = await compile();
  writeFileSync(join(root, "kernels/wasm_bytes.ts"), bytesModule(modules));
  console.log(`kernels/wasm_bytes.ts: ${modules.plain.length} and ${modules.relaxed.length} bytes`);
}

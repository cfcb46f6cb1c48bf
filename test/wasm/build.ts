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
const options = ["--runtime", "stub", "--importMemory", "--noAssert", "-O3", "--enable", "simd"];
/** Vectors stay within the module; asc warns of every exported function that takes one, the entry's or not. */
const quiet = ["--disableWarning", "112"];

/** The module's bytes. */
export async function compile(): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined;
  const { error, stderr } = await main([entry, "--outFile", "kernels.wasm", ...options, ...quiet], {
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

/** The file that carries the bytes to every runtime and bundler. */
export function bytesModule(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  const lines = text.match(/.{1,106}/g)!.map((line) => `  "${line}"`).join(" +\n");
  return `/**
 * The functions of kernels/assembly/ as WASM: ${bytes.length} bytes, written by \`deno task build:wasm\`.
 *
 * @module
 */

// deno-fmt-ignore
const base64 =
${lines};

/** The module's bytes, to be compiled. */
export function wasmBytes(): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
`;
}

if (import.meta.main) {
  const bytes = await compile();
  writeFileSync(join(root, "kernels/wasm_bytes.ts"), bytesModule(bytes));
  console.log(`kernels/wasm_bytes.ts: ${bytes.length} bytes`);
}

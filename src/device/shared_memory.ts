/**
 * Memory that several threads see: WebAssembly's, and the kernels' module made to import it.
 *
 * @module
 */
import { ownWasmBytes } from "./wasm_module.ts";

const pageBytes = 65536;
/** Pages of a memory: 4 GiB, all that 32 bits can name. */
const mostPages = 65536;
/**
 * Pages that a memory has from the start. The import asks for as many: Deno checks each access, and checks an access
 * that a smaller memory might not hold twice.
 */
const fewestPages = 16;
/** A runtime sets the whole maximum aside, and a small one may refuse the largest. */
const fewestMostPages = mostPages / 16;

const importSection = 2;
const memoryImport = 2;
/** Limits of a memory import: with a maximum, and shared. */
const sharedWithMaximum = 3;

/** A memory, and the size that it may grow to. */
export interface SharedMemory {
  readonly memory: WebAssembly.Memory;
  readonly mostBytes: number;
}

/** A shared memory that may grow as far as this machine allows. */
export function sharedMemory(): SharedMemory {
  for (let maximum = mostPages;; maximum /= 2) {
    try {
      const memory = new WebAssembly.Memory({ initial: fewestPages, maximum, shared: true });
      return { memory, mostBytes: maximum * pageBytes };
    } catch (error) {
      if (maximum <= fewestMostPages) throw error;
    }
  }
}

/** An unsigned integer as WASM writes it (LEB128). */
function leb(value: number): number[] {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return [...bytes, value];
}

/** Reads a module's bytes in order. */
class Reader {
  constructor(readonly bytes: Uint8Array, public at: number) {}

  number(): number {
    let value = 0;
    for (let factor = 1;; factor *= 128) {
      const byte = this.bytes[this.at++];
      value += factor * (byte % 128);
      if (byte < 128) return value;
    }
  }

  name(): string {
    const length = this.number();
    this.at += length;
    return String.fromCharCode(...this.bytes.subarray(this.at - length, this.at));
  }
}

/**
 * A module whose one import is a memory, made to import a shared memory. A module says in the import's limits whether
 * its memory is shared; its functions are the same.
 *
 * @throws SyntaxError when it imports anything else.
 */
export function importingShared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const read = new Reader(bytes, 8);
  while (read.at < bytes.length) {
    const begin = read.at;
    const id = read.number(), size = read.number(), body = read.at;
    if (id === importSection) {
      const count = read.number(), names = [read.name(), read.name()];
      const kind = read.number(), flags = read.number(), least = read.number();
      if (count !== 1 || kind !== memoryImport || flags > 1) break;
      const named = names.flatMap((name) => [...leb(name.length), ...new TextEncoder().encode(name)]);
      const section = [
        1,
        ...named,
        memoryImport,
        sharedWithMaximum,
        ...leb(Math.max(least, fewestPages)),
        ...leb(mostPages),
      ];
      const own = [importSection, ...leb(section.length), ...section], after = bytes.subarray(body + size);
      // As arguments of a call, a module's bytes would be more than a page's thread has room for.
      const made = new Uint8Array(begin + own.length + after.length);
      made.set(bytes.subarray(0, begin));
      made.set(own, begin);
      made.set(after, begin + own.length);
      return made;
    }
    read.at = body + size;
  }
  throw new SyntaxError("Cannot share the memory of a WASM module: it must import one memory and no more");
}

let compiled: WebAssembly.Module | undefined;

/** The package's own module for a shared memory; undefined where the runtime refuses it: no SIMD, or no compiling at all. */
export function sharedModule(): WebAssembly.Module | undefined {
  try {
    return compiled ??= new WebAssembly.Module(importingShared(ownWasmBytes()));
  } catch {
    return undefined;
  }
}

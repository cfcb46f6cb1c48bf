/**
 * Arrays of bytes in a file of numpy's `savez_compressed`.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { inflateRawSync } from "node:zlib";

/** An array of uint8, row-major. */
export interface ByteArray {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

function arrayOf(file: Buffer, name: string): ByteArray {
  const length = file.readUInt16LE(8), header = file.toString("latin1", 10, 10 + length);
  const [, shape] = /'descr': '\|u1', 'fortran_order': False, 'shape': \(([\d, ]*)\)/.exec(header) ?? [];
  if (shape === undefined) {
    throw new Error(`Cannot read ${name}: it must be an array of uint8, it is ${header}`);
  }
  return {
    shape: shape.split(",").filter((part) => part.trim()).map(Number),
    data: file.subarray(10 + length),
  };
}

/** The arrays of a file by their names. */
export function readNpz(path: string): ReadonlyMap<string, ByteArray> {
  const file = readFileSync(path), arrays = new Map<string, ByteArray>();
  // The archive's directory: its place stands 22 bytes before the end.
  let at = file.readUInt32LE(file.length - 6);
  for (let left = file.readUInt16LE(file.length - 12); left > 0; left--) {
    const packed = file.readUInt32LE(at + 20), nameLength = file.readUInt16LE(at + 28);
    const name = file.toString("latin1", at + 46, at + 46 + nameLength), local = file.readUInt32LE(at + 42);
    const begin = local + 30 + file.readUInt16LE(local + 26) + file.readUInt16LE(local + 28);
    const bytes = file.subarray(begin, begin + packed);
    const plain = file.readUInt16LE(at + 10) === 0 ? bytes : inflateRawSync(bytes);
    arrays.set(name.replace(/\.npy$/, ""), arrayOf(plain, name));
    at += 46 + nameLength + file.readUInt16LE(at + 30) + file.readUInt16LE(at + 32);
  }
  return arrays;
}

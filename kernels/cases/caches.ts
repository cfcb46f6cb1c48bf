/**
 * How cases of kernels that write a cache read it again.
 *
 * @module
 */
import { type CacheFormat, type CacheSizes, unpacked } from "../caches/format.ts";
import type { TypedArray } from "../kernel.ts";

/** The numbers of keys and values of a packed format. */
export function readsOf(format: CacheFormat, sizes: CacheSizes) {
  if (!format.packed) return {};
  const read = (words: TypedArray): Float32Array => unpacked(format, words, sizes);
  return { numbers: { keys: read, values: read } };
}

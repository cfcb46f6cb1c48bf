/**
 * Keys and values as they are.
 *
 * @module
 */
import type { CacheFormat, CachePlace, CacheSizes } from "./format.ts";

const begin = ({ row, head }: CachePlace, { kvHeads, headDim }: CacheSizes): number =>
  (row * kvHeads + head) * headDim;

/** See the module's documentation. */
export const float32: CacheFormat = {
  name: "float32",
  doc: "floats as they are",
  buffer: { dtypes: ["float32"], doc: "(cacheRows, kvHeads, headDim), row-major" },
  rowElements: ({ kvHeads, headDim }) => kvHeads * headDim,
  write: (cache, place, numbers, sizes) => cache.set(numbers, begin(place, sizes)),
  read(cache, place, { into, at }, sizes) {
    const from = begin(place, sizes);
    for (let i = 0; i < sizes.headDim; i++) into[at + i] = cache[from + i];
  },
  error: { relative: 0, to: "itself", smallest: 0 },
  bits: 32,
};

import { normals } from "../kernel.ts";
import { kvCache } from "../kv_cache.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

type Sizes = CaseOf<typeof kvCache>["uniforms"] & {
  /** Rows that point past the cache. */
  readonly skipped?: number;
};

/** The rows go to different places, in reverse. */
function sized({ skipped = 0, ...sizes }: Sizes): CaseOf<typeof kvCache> {
  const { rows, heads, kvHeads, headDim, cacheRows } = sizes;
  return {
    name: `${rows} rows, ${heads}/${kvHeads} heads of ${headDim} into ${cacheRows}, ${skipped} skipped`,
    uniforms: sizes,
    make: (random) => ({
      qkv: normals(rows * (heads + 2 * kvHeads) * headDim, random),
      index: Uint32Array.from({ length: rows }, (_, r) => r < skipped ? cacheRows + r : cacheRows - 1 - r),
      keys: normals(cacheRows * kvHeads * headDim, random),
      values: normals(cacheRows * kvHeads * headDim, random),
    }),
  };
}

/** Cases of {@linkcode kvCache}. */
export const kvCacheCases: KernelCases = casesFor(kvCache, {
  cases: [
    sized({ rows: 1, heads: 1, kvHeads: 1, headDim: 1, cacheRows: 1 }),
    sized({ rows: 3, heads: 5, kvHeads: 1, headDim: 7, cacheRows: 7, skipped: 1 }),
    sized({ rows: 7, heads: 3, kvHeads: 3, headDim: 64, cacheRows: 11, skipped: 2 }),
  ],
  benches: [
    {
      ...sized({ rows: 64, heads: 12, kvHeads: 12, headDim: 64, cacheRows: 4096 }),
      bytes: 4 * 64 * 4 * 12 * 64,
    },
  ],
});

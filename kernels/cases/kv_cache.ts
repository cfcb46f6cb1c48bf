import { type CacheFormat, packed } from "../caches/format.ts";
import { float32 } from "../caches/float32.ts";
import { normals } from "../kernel.ts";
import { kvCache } from "../kv_cache.ts";
import { readsOf } from "./caches.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

type Sizes = CaseOf<typeof kvCache>["uniforms"] & {
  /** Rows that point past the cache. */
  readonly skipped?: number;
};

/** The rows go to different places, in reverse. */
function sized({ skipped = 0, ...sizes }: Sizes, format: CacheFormat = float32): CaseOf<typeof kvCache> {
  const { rows, heads, kvHeads, headDim, cacheRows } = sizes;
  return {
    name: `${rows} rows, ${heads}/${kvHeads} heads of ${headDim} into ${cacheRows}, ${skipped} skipped`,
    uniforms: sizes,
    ...readsOf(format, sizes),
    make: (random) => ({
      qkv: normals(rows * (heads + 2 * kvHeads) * headDim, random),
      index: Uint32Array.from({ length: rows }, (_, r) => r < skipped ? cacheRows + r : cacheRows - 1 - r),
      keys: packed(format, normals(cacheRows * kvHeads * headDim, random), sizes),
      values: packed(format, normals(cacheRows * kvHeads * headDim, random), sizes),
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

/** Cases over caches of a packed format. */
export const kvCacheCasesOf = (format: CacheFormat): KernelCases =>
  casesFor(kvCache.of(format), {
    cases: [
      sized({ rows: 2, heads: 1, kvHeads: 1, headDim: 1, cacheRows: 3 }, format),
      sized({ rows: 3, heads: 5, kvHeads: 2, headDim: 67, cacheRows: 7, skipped: 1 }, format),
    ],
  });

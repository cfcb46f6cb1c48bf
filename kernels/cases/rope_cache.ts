import { type CacheFormat, packed } from "../caches/format.ts";
import { float32 } from "../caches/float32.ts";
import { normals } from "../kernel.ts";
import { ropeCache } from "../rope_cache.ts";
import { readsOf } from "./caches.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { turns } from "./turns.ts";

interface Heads {
  readonly rows: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** All of a head, by default. */
  readonly rotaryDim?: number;
}

interface Sizes extends Heads {
  readonly cacheRows: number;
  /** Rows that point past the cache. */
  readonly skipped?: number;
}

/** The rows go to different places, in reverse. */
function sized(
  { skipped = 0, ...sizes }: Sizes,
  format: CacheFormat = float32,
): CaseOf<typeof ropeCache> {
  const { rows, heads, kvHeads, headDim, rotaryDim = headDim, cacheRows } = sizes;
  const part = rotaryDim < headDim ? `, ${rotaryDim} turned` : "";
  return {
    name:
      `${rows} rows, ${heads}/${kvHeads} heads of ${headDim}${part} into ${cacheRows}, ${skipped} skipped`,
    uniforms: { ...sizes, rotaryDim },
    ...readsOf(format, sizes),
    make: (random) => ({
      qkv: normals(rows * (heads + 2 * kvHeads) * headDim, random),
      table: turns(37, rotaryDim),
      positions: Uint32Array.from({ length: rows }, () => Math.floor(random() * 37)),
      index: Uint32Array.from({ length: rows }, (_, r) => r < skipped ? cacheRows + r : cacheRows - 1 - r),
      keys: packed(format, normals(cacheRows * kvHeads * headDim, random), sizes),
      values: packed(format, normals(cacheRows * kvHeads * headDim, random), sizes),
    }),
  };
}

/** Cases of {@linkcode ropeCache}. */
export const ropeCacheCases: KernelCases = casesFor(ropeCache, {
  cases: [
    sized({ rows: 1, heads: 1, kvHeads: 1, headDim: 2, cacheRows: 1 }),
    sized({ rows: 3, heads: 5, kvHeads: 1, headDim: 6, cacheRows: 7, skipped: 1 }),
    sized({ rows: 2, heads: 8, kvHeads: 4, headDim: 32, cacheRows: 5 }),
    sized({ rows: 7, heads: 3, kvHeads: 3, headDim: 128, cacheRows: 11, skipped: 2 }),
    sized({ rows: 1, heads: 2, kvHeads: 2, headDim: 258, cacheRows: 3 }),
    sized({ rows: 3, heads: 3, kvHeads: 2, headDim: 16, rotaryDim: 6, cacheRows: 5 }),
  ],
  benches: [
    {
      ...sized({ rows: 64, heads: 32, kvHeads: 8, headDim: 64, cacheRows: 4096 }),
      bytes: 4 * 64 * 64 * (2 * 32 + 4 * 8),
    },
  ],
});

/** Cases over caches of a packed format. */
export const ropeCacheCasesOf = (format: CacheFormat): KernelCases =>
  casesFor(ropeCache.of(format), {
    cases: [
      sized({ rows: 3, heads: 3, kvHeads: 2, headDim: 18, rotaryDim: 6, cacheRows: 5, skipped: 1 }, format),
      sized({ rows: 5, heads: 3, kvHeads: 3, headDim: 128, cacheRows: 11, skipped: 1 }, format),
    ],
  });

import { attention } from "../attention.ts";
import { type CacheFormat, packed } from "../caches/format.ts";
import { float32 } from "../caches/float32.ts";
import { nans, normals } from "../kernel.ts";
import { type BenchOf, type CaseOf, casesFor, type KernelCases, shuffled } from "./case.ts";

interface CaseSizes {
  readonly rows: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Elements of a row behind its queries. */
  readonly behind?: number;
  readonly cacheRows: number;
  /** Rows of a block; 1 if missing. */
  readonly blockSize?: number;
  /** Of each row; random within the cache if missing. */
  readonly lastKeys?: readonly number[];
  /** Whether all rows are of one sequence. */
  readonly together?: boolean;
  readonly window?: number;
  readonly softcap?: number;
}

function sized(
  { behind = 0, lastKeys, blockSize = 1, together, window = 0, softcap = 0, ...sizes }: CaseSizes,
  format: CacheFormat = float32,
): CaseOf<typeof attention> {
  const { rows, heads, kvHeads, headDim, cacheRows } = sizes;
  const qStride = heads * headDim + behind;
  // A block that is not full is left out.
  const tableSize = Math.floor(cacheRows / blockSize);
  return {
    name: [
      `${rows} rows, ${heads}/${kvHeads} heads of ${headDim}, cache of ${cacheRows}`,
      ...blockSize > 1 ? [`blocks of ${blockSize}`] : [],
      ...window > 0 ? [`window ${window}`] : [],
      ...softcap > 0 ? [`cap ${softcap}`] : [],
    ].join(", "),
    uniforms: {
      ...sizes,
      qStride,
      blockSize,
      tableSize,
      window,
      softcap,
      scale: Math.fround(1 / Math.sqrt(headDim)),
    },
    make(random) {
      const at = Uint32Array.from(
        { length: rows },
        (_, r) => lastKeys?.[r] ?? Math.floor(random() * cacheRows),
      );
      return {
        q: normals(rows * qStride, random, 2),
        keys: packed(format, normals(cacheRows * kvHeads * headDim, random, 2), sizes),
        values: packed(format, normals(cacheRows * kvHeads * headDim, random), sizes),
        blockTable: shuffled(tableSize, random),
        first: at.map((last) =>
          together ? 0 : Math.floor(random() * Math.max(1, tableSize - Math.floor(last / blockSize)))
        ),
        lastKey: at,
        y: nans(rows * heads * headDim),
      };
    },
  };
}

function bench(sizes: CaseSizes, format: CacheFormat = float32): BenchOf<typeof attention> {
  const { rows, heads, headDim, cacheRows, lastKeys } = sizes;
  const keys = lastKeys!.reduce((sum, last) => sum + last + 1, 0);
  const read = Math.min(keys, cacheRows) * format.rowElements(sizes) * 2;
  return {
    ...sized(sizes, format),
    bytes: 4 * (read + 2 * rows * heads * headDim),
    flops: 4 * keys * heads * headDim,
  };
}

const benched: readonly CaseSizes[] = [
  {
    ...{ rows: 16, heads: 32, kvHeads: 8, headDim: 128, cacheRows: 16384, blockSize: 16 },
    lastKeys: Array(16).fill(1023),
  },
  {
    ...{ rows: 256, heads: 32, kvHeads: 8, headDim: 128, cacheRows: 256, blockSize: 16 },
    lastKeys: Array.from({ length: 256 }, (_, i) => i),
  },
];

/** Cases of {@linkcode attention}. */
export const attentionCases: KernelCases = casesFor(attention, {
  cases: [
    sized({ rows: 1, heads: 1, kvHeads: 1, headDim: 1, cacheRows: 1 }),
    sized({ rows: 3, heads: 4, kvHeads: 2, headDim: 7, cacheRows: 31 }),
    sized({ rows: 4, heads: 4, kvHeads: 2, headDim: 8, behind: 32, cacheRows: 31 }),
    sized({ rows: 3, heads: 2, kvHeads: 2, headDim: 4, behind: 3, cacheRows: 9 }),
    sized({ rows: 2, heads: 8, kvHeads: 4, headDim: 32, cacheRows: 257, lastKeys: [255, 256] }),
    sized({
      rows: 3,
      heads: 4,
      kvHeads: 1,
      headDim: 64,
      cacheRows: 80,
      blockSize: 16,
      lastKeys: [15, 16, 79],
    }),
    sized({ rows: 5, heads: 3, kvHeads: 3, headDim: 64, cacheRows: 600, lastKeys: [0, 254, 255, 511, 599] }),
    sized({ rows: 1, heads: 2, kvHeads: 1, headDim: 256, cacheRows: 300, lastKeys: [290] }),
    sized({ rows: 1, heads: 2, kvHeads: 2, headDim: 255, cacheRows: 9 }),
    sized({ rows: 2, heads: 2, kvHeads: 1, headDim: 80, cacheRows: 70, lastKeys: [69, 40] }),
    sized({ rows: 2, heads: 2, kvHeads: 1, headDim: 8, cacheRows: 5, lastKeys: [2, 4294967295] }),
    sized({
      rows: 5,
      heads: 4,
      kvHeads: 2,
      headDim: 16,
      cacheRows: 304,
      blockSize: 16,
      lastKeys: [0, 6, 7, 8, 299],
      window: 8,
    }),
    // Windows that begin within the cache, and end past it.
    sized({
      ...{ rows: 4, heads: 2, kvHeads: 1, headDim: 16, cacheRows: 10, window: 10, together: true },
      lastKeys: [8, 9, 10, 12],
    }),
    sized({ rows: 3, heads: 2, kvHeads: 1, headDim: 9, cacheRows: 31, blockSize: 4, softcap: 0.5 }),
    sized({
      ...{ rows: 4, heads: 2, kvHeads: 1, headDim: 16, cacheRows: 290, window: 260, softcap: 4 },
      lastKeys: [1, 259, 280, 4294967295],
    }),
  ],
  benches: benched.map((sizes) => bench(sizes)),
});

/** Cases over caches of a packed format. */
export const attentionCasesOf = (format: CacheFormat): KernelCases =>
  casesFor(attention.of(format), {
    cases: [
      sized({ rows: 3, heads: 4, kvHeads: 2, headDim: 9, cacheRows: 31, softcap: 0.5 }, format),
      sized({
        ...{ rows: 4, heads: 4, kvHeads: 2, headDim: 48, behind: 5, cacheRows: 290, window: 260 },
        lastKeys: [1, 259, 280, 4294967295],
      }, format),
      sized({
        ...{ rows: 6, heads: 4, kvHeads: 2, headDim: 128, cacheRows: 304, blockSize: 16, together: true },
        ...{ window: 130, lastKeys: [15, 16, 17, 298, 299, 150] },
      }, format),
    ],
    benches: benched.map((sizes) => bench(sizes, format)),
  });

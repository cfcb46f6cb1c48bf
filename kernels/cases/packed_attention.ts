import { nans, normals } from "../kernel.ts";
import { packedAttention } from "../packed_attention.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { bounds } from "./packed.ts";

interface Sizes {
  readonly documents: readonly number[];
  readonly heads: number;
  readonly headDim: number;
  /** Columns before the queries, and after the values. */
  readonly around?: number;
  /** Whether queries, keys and values are buffers of their own. */
  readonly apart?: boolean;
}

function sized(
  { documents, heads, headDim, around = 0, apart = false }: Sizes,
): CaseOf<typeof packedAttention> {
  const { first, last } = bounds(documents), rows = first.length, width = heads * headDim;
  const stride = apart ? width : 3 * width + 2 * around;
  const columns = apart
    ? { qAt: 0, kAt: 0, vAt: 0 }
    : { qAt: around, kAt: around + width, vAt: around + 2 * width };
  return {
    name: `documents of ${documents}, ${heads} heads of ${headDim}${around ? `, ${around} around` : ""}${
      apart ? ", apart" : ""
    }`,
    uniforms: { rows, heads, headDim, stride, ...columns, scale: Math.fround(1 / Math.sqrt(headDim)) },
    make: (random) => ({
      q: normals(rows * stride, random, 2),
      k: normals(rows * stride, random, 2),
      v: normals(rows * stride, random),
      first,
      last,
      y: nans(rows * width),
    }),
  };
}

function bench(documents: readonly number[], heads: number, headDim: number) {
  const made = sized({ documents, heads, headDim }), { rows } = made.uniforms;
  return {
    ...made,
    bytes: 4 * rows * heads * headDim * 4,
    flops: 4 * documents.reduce((sum, length) => sum + length * length, 0) * heads * headDim,
  };
}

/** Cases of {@linkcode packedAttention}. */
export const packedAttentionCases: KernelCases = casesFor(packedAttention, {
  cases: [
    { documents: [4, 1], heads: 2, headDim: 5, apart: true },
    { documents: [1], heads: 1, headDim: 1 },
    { documents: [3, 1, 7], heads: 4, headDim: 7 },
    { documents: [32], heads: 2, headDim: 32 },
    { documents: [5, 33, 26, 40], heads: 3, headDim: 64 },
    { documents: [97], heads: 2, headDim: 68, around: 3 },
    { documents: [20, 15], heads: 1, headDim: 256, around: 8 },
    { documents: [2, 34, 1, 1], heads: 2, headDim: 16 },
  ].map(sized),
  benches: [bench([512], 12, 64), bench(Array(16).fill(64), 12, 64)],
});

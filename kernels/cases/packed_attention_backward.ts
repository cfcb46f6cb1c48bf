import { nans, normals } from "../kernel.ts";
import { packedAttention } from "../packed_attention.ts";
import { packedAttentionBackward } from "../packed_attention_backward.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { bounds } from "./packed.ts";

interface Sizes {
  readonly documents: readonly number[];
  readonly heads: number;
  readonly headDim: number;
}

function sized({ documents, heads, headDim }: Sizes): CaseOf<typeof packedAttentionBackward> {
  const { first, last } = bounds(documents), rows = first.length, width = heads * headDim;
  const uniforms = { rows, heads, headDim, scale: Math.fround(1 / Math.sqrt(headDim)) };
  return {
    name: `documents of ${documents}, ${heads} heads of ${headDim}`,
    uniforms,
    make(random) {
      const [q, k, v] = [1, 1, 1].map(() => normals(rows * width, random)), y = nans(rows * width);
      packedAttention.cpu!({ q, k, v, first, last, y }, {
        ...uniforms,
        stride: width,
        qAt: 0,
        kAt: 0,
        vAt: 0,
      });
      const gradients = { dq: nans(rows * width), dk: nans(rows * width), dv: nans(rows * width) };
      return { q, k, v, y, first, last, dy: normals(rows * width, random), ...gradients };
    },
  };
}

function bench(documents: readonly number[], heads: number, headDim: number) {
  const made = sized({ documents, heads, headDim }), { rows } = made.uniforms;
  return {
    ...made,
    bytes: 4 * rows * heads * headDim * 8,
    flops: 12 * documents.reduce((sum, length) => sum + length * length, 0) * heads * headDim,
  };
}

/** Cases of {@linkcode packedAttentionBackward}. */
export const packedAttentionBackwardCases: KernelCases = casesFor(packedAttentionBackward, {
  cases: [
    { documents: [1], heads: 1, headDim: 1 },
    { documents: [3, 1, 7], heads: 4, headDim: 7 },
    { documents: [5, 33, 26], heads: 2, headDim: 32 },
    { documents: [2, 34, 1, 1], heads: 2, headDim: 68 },
  ].map(sized),
  benches: [bench([512], 12, 64), bench(Array(16).fill(64), 12, 64)],
});

import { causalAttention } from "../causal_attention.ts";
import { nans, normals } from "../kernel.ts";
import { type BenchOf, type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { bounds, type Packed, packedBenches, packedCases, packedName, pairs, sizesOf } from "./packed.ts";

function sized(packed: Packed): CaseOf<typeof causalAttention> {
  const uniforms = sizesOf(packed);
  const { rows, heads, kvHeads, headDim } = uniforms;
  return {
    name: packedName(packed),
    uniforms,
    make: (random) => ({
      q: normals(rows * heads * headDim, random, 2),
      k: normals(rows * kvHeads * headDim, random, 2),
      v: normals(rows * kvHeads * headDim, random),
      first: bounds(packed.documents).first,
      y: nans(rows * heads * headDim),
      logsumexp: nans(rows * heads),
    }),
  };
}

function bench(packed: Packed): BenchOf<typeof causalAttention> {
  const { rows, heads, kvHeads, headDim } = sizesOf(packed);
  return {
    ...sized(packed),
    bytes: 4 * rows * headDim * 2 * (heads + kvHeads),
    flops: 4 * pairs(packed.documents) * heads * headDim,
  };
}

/** Cases of {@linkcode causalAttention}. */
export const causalAttentionCases: KernelCases = casesFor(causalAttention, {
  cases: packedCases.map(sized),
  benches: packedBenches.map(bench),
});

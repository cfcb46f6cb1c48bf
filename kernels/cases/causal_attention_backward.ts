import { causalAttentionCpu } from "../causal/cpu.ts";
import { causalAttentionBackward } from "../causal_attention_backward.ts";
import { nans, normals } from "../kernel.ts";
import { type BenchOf, type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { bounds, type Packed, packedBenches, packedCases, packedName, pairs, sizesOf } from "./packed.ts";

function sized(packed: Packed): CaseOf<typeof causalAttentionBackward> {
  const uniforms = sizesOf(packed);
  const { rows, heads, kvHeads, headDim } = uniforms;
  return {
    name: packedName(packed),
    uniforms,
    make(random) {
      const forward = {
        q: normals(rows * heads * headDim, random),
        k: normals(rows * kvHeads * headDim, random),
        v: normals(rows * kvHeads * headDim, random),
        first: bounds(packed.documents).first,
        y: nans(rows * heads * headDim),
        logsumexp: nans(rows * heads),
      };
      causalAttentionCpu(forward, uniforms);
      return {
        ...forward,
        last: bounds(packed.documents).last,
        dy: normals(rows * heads * headDim, random),
        dq: nans(rows * heads * headDim),
        dk: nans(rows * kvHeads * headDim),
        dv: nans(rows * kvHeads * headDim),
      };
    },
  };
}

function bench(packed: Packed): BenchOf<typeof causalAttentionBackward> {
  const { rows, heads, kvHeads, headDim } = sizesOf(packed);
  return {
    ...sized(packed),
    bytes: 4 * rows * headDim * 4 * (heads + kvHeads),
    flops: 10 * pairs(packed.documents) * heads * headDim,
  };
}

/** Cases of {@linkcode causalAttentionBackward}. */
export const causalAttentionBackwardCases: KernelCases = casesFor(causalAttentionBackward, {
  cases: packedCases.map(sized),
  benches: packedBenches.map(bench),
});

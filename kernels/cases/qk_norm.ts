import { narrow } from "../half.ts";
import { type DType, normals } from "../kernel.ts";
import { qkNorm } from "../qk_norm.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

interface Sizes {
  readonly rows: number;
  readonly qHeads: number;
  readonly qDim: number;
  readonly kHeads: number;
  readonly kDim: number;
  /** Elements of a row behind its keys. */
  readonly behind: number;
}

function sized({ behind, ...sizes }: Sizes, dtype: DType = "float32"): CaseOf<typeof qkNorm> {
  const { rows, qHeads, qDim, kHeads, kDim } = sizes;
  const stride = qHeads * qDim + kHeads * kDim + behind;
  return {
    name: `${rows} rows, ${qHeads} heads of ${qDim}, ${kHeads} of ${kDim}, ${behind} behind, ${dtype}`,
    uniforms: { ...sizes, stride, eps: 1e-6 },
    dtypes: { qWeight: dtype, kWeight: dtype },
    make: (random) => ({
      x: normals(rows * stride, random, 2),
      qWeight: narrow(normals(qDim, random), dtype),
      kWeight: narrow(normals(kDim, random), dtype),
    }),
  };
}

/** Cases of {@linkcode qkNorm}. */
export const qkNormCases: KernelCases = casesFor(qkNorm, {
  cases: [
    sized({ rows: 1, qHeads: 1, qDim: 1, kHeads: 1, kDim: 1, behind: 0 }),
    sized({ rows: 3, qHeads: 4, qDim: 16, kHeads: 2, kDim: 16, behind: 32 }),
    sized({ rows: 2, qHeads: 1, qDim: 515, kHeads: 1, kDim: 129, behind: 7 }, "bfloat16"),
    sized({ rows: 5, qHeads: 2, qDim: 31, kHeads: 1, kDim: 31, behind: 31 }, "float16"),
  ],
  benches: [
    {
      ...sized({ rows: 256, qHeads: 32, qDim: 128, kHeads: 8, kDim: 128, behind: 1024 }),
      bytes: 2 * 256 * 40 * 128 * 4,
    },
  ],
});

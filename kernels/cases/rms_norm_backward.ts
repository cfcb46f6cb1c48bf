import { narrow } from "../half.ts";
import { type DType, normals } from "../kernel.ts";
import { rmsNormBackward } from "../rms_norm_backward.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(rows: number, dim: number, dtype: DType = "float32"): CaseOf<typeof rmsNormBackward> {
  return {
    name: `${rows} x ${dim}, ${dtype}`,
    uniforms: { rows, dim, eps: 1e-5 },
    dtypes: { weight: dtype },
    make: (random) => ({
      dy: normals(rows * dim, random),
      x: normals(rows * dim, random),
      weight: narrow(normals(dim, random), dtype),
      dx: normals(rows * dim, random),
    }),
  };
}

/** Cases of {@linkcode rmsNormBackward}. */
export const rmsNormBackwardCases: KernelCases = casesFor(rmsNormBackward, {
  cases: [
    sized(1, 1),
    sized(3, 255),
    sized(2, 256),
    sized(2, 257),
    sized(5, 31, "float16"),
    sized(2, 1031, "bfloat16"),
  ],
  benches: [{ ...sized(256, 4096), bytes: 4 * 256 * 4096 * 4 }],
});

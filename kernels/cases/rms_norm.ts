import { narrow } from "../half.ts";
import { type DType, nans, normals } from "../kernel.ts";
import { rmsNorm } from "../rms_norm.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(rows: number, dim: number, dtype: DType = "float32"): CaseOf<typeof rmsNorm> {
  return {
    name: `${rows} x ${dim}, ${dtype}`,
    uniforms: { rows, dim, eps: 1e-5 },
    dtypes: { weight: dtype },
    make: (random) => ({
      x: normals(rows * dim, random),
      weight: narrow(normals(dim, random), dtype),
      y: nans(rows * dim),
    }),
  };
}

/** Cases of {@linkcode rmsNorm}. */
export const rmsNormCases: KernelCases = casesFor(rmsNorm, {
  cases: [
    sized(1, 1),
    sized(3, 255),
    sized(2, 256),
    sized(2, 257),
    sized(5, 31, "float16"),
    sized(2, 1031, "bfloat16"),
    sized(3, 2048, "float16"),
    sized(2, 4100),
    sized(2, 12292, "bfloat16"),
    sized(2, 33028, "float16"),
  ],
  benches: [{ ...sized(256, 4096), bytes: 2 * 256 * 4096 * 4 }],
});

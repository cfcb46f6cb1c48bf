import { narrow } from "../half.ts";
import { type DType, normals } from "../kernel.ts";
import { layerNormBackward } from "../layer_norm_backward.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(rows: number, dim: number, dtype: DType = "float32"): CaseOf<typeof layerNormBackward> {
  return {
    name: `${rows} x ${dim}, ${dtype}`,
    uniforms: { rows, dim, eps: 1e-5 },
    dtypes: { weight: dtype },
    make: (random) => ({
      dy: normals(rows * dim, random),
      x: normals(rows * dim, random).map((value) => value + 2),
      weight: narrow(normals(dim, random), dtype),
      dx: normals(rows * dim, random),
    }),
  };
}

/** Cases of {@linkcode layerNormBackward}. */
export const layerNormBackwardCases: KernelCases = casesFor(layerNormBackward, {
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

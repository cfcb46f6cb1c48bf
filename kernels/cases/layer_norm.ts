import { narrow } from "../half.ts";
import { type DType, nans, normals } from "../kernel.ts";
import { layerNorm } from "../layer_norm.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(rows: number, dim: number, dtype: DType = "float32"): CaseOf<typeof layerNorm> {
  return {
    name: `${rows} x ${dim}, ${dtype}`,
    uniforms: { rows, dim, eps: 1e-5 },
    dtypes: { weight: dtype, bias: dtype },
    make: (random) => ({
      x: normals(rows * dim, random).map((value) => value + 2),
      weight: narrow(normals(dim, random), dtype),
      bias: narrow(normals(dim, random), dtype),
      y: nans(rows * dim),
    }),
  };
}

/** Cases of {@linkcode layerNorm}. */
export const layerNormCases: KernelCases = casesFor(layerNorm, {
  cases: [
    sized(1, 1),
    sized(3, 255),
    sized(2, 256),
    sized(2, 257),
    sized(5, 31, "float16"),
    sized(2, 1031, "bfloat16"),
  ],
  benches: [{ ...sized(256, 4096), bytes: 2 * 256 * 4096 * 4 }],
});

import { addTransposed } from "../add_transposed.ts";
import { narrow } from "../half.ts";
import { type DType, nans, normals } from "../kernel.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (rows: number, cols: number, dtype: DType = "float32"): CaseOf<typeof addTransposed> => ({
  name: `${rows} x ${cols}, ${dtype}`,
  uniforms: { rows, cols },
  dtypes: { x: dtype },
  make: (random) => ({
    x: narrow(normals(rows * cols, random), dtype),
    t: normals(rows * cols, random),
    y: nans(rows * cols),
  }),
});

/** Cases of {@linkcode addTransposed}. */
export const addTransposedCases: KernelCases = casesFor(addTransposed, {
  cases: [
    sized(1, 1),
    sized(32, 64),
    sized(33, 7),
    sized(5, 130),
    sized(70, 45, "float16"),
    sized(31, 96, "bfloat16"),
  ],
  benches: [{ ...sized(2048, 2048), bytes: 3 * 2 ** 24 }],
});

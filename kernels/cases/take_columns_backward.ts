import { normals } from "../kernel.ts";
import { takeColumnsBackward } from "../take_columns_backward.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(words: CaseOf<typeof takeColumnsBackward>["uniforms"]): CaseOf<typeof takeColumnsBackward> {
  const { rows, dim, stride, at } = words;
  return {
    name: `${rows} rows, ${dim} of ${stride} columns from ${at}`,
    uniforms: words,
    make: (random) => ({ dy: normals(rows * dim, random), dx: normals(rows * stride, random) }),
  };
}

/** Cases of {@linkcode takeColumnsBackward}. */
export const takeColumnsBackwardCases: KernelCases = casesFor(takeColumnsBackward, {
  cases: [
    sized({ rows: 1, dim: 1, stride: 1, at: 0 }),
    sized({ rows: 3, dim: 7, stride: 11, at: 4 }),
    sized({ rows: 5, dim: 64, stride: 192, at: 64 }),
    sized({ rows: 2, dim: 257, stride: 300, at: 0 }),
  ],
  benches: [{ ...sized({ rows: 256, dim: 4096, stride: 12288, at: 4096 }), bytes: 3 * 256 * 4096 * 4 }],
});

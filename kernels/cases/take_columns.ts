import { nans, normals } from "../kernel.ts";
import { takeColumns } from "../take_columns.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(words: CaseOf<typeof takeColumns>["uniforms"]): CaseOf<typeof takeColumns> {
  const { rows, dim, stride, at } = words;
  return {
    name: `${rows} rows, ${dim} of ${stride} columns from ${at}`,
    uniforms: words,
    make: (random) => ({ x: normals(rows * stride, random), y: nans(rows * dim) }),
  };
}

/** Cases of {@linkcode takeColumns}. */
export const takeColumnsCases: KernelCases = casesFor(takeColumns, {
  cases: [
    sized({ rows: 1, dim: 1, stride: 1, at: 0 }),
    sized({ rows: 3, dim: 7, stride: 11, at: 4 }),
    sized({ rows: 5, dim: 64, stride: 192, at: 64 }),
    sized({ rows: 2, dim: 257, stride: 300, at: 0 }),
  ],
  benches: [{ ...sized({ rows: 256, dim: 4096, stride: 12288, at: 4096 }), bytes: 2 * 256 * 4096 * 4 }],
});

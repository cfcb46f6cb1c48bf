import { normals } from "../kernel.ts";
import { takeRows } from "../take_rows.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(rows: number, dim: number): CaseOf<typeof takeRows> {
  return {
    name: `${rows} x ${dim}`,
    uniforms: { rows, dim, slot: 1 },
    make: (random) => ({
      x: normals(rows * dim, random),
      slots: Uint32Array.from({ length: rows }, (_, row) => row % 3 === 0 ? 1 : row),
      y: normals(rows * dim, random),
    }),
  };
}

/** Cases of {@linkcode takeRows}. */
export const takeRowsCases: KernelCases = casesFor(takeRows, {
  cases: [sized(1, 1), sized(7, 37), sized(5, 256)],
});

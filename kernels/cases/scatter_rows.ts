import { normals } from "../kernel.ts";
import { scatterRows } from "../scatter_rows.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

/** Every second entry has a row; the last row's id is of no entry. */
function sized(rows: number, dim: number): CaseOf<typeof scatterRows> {
  const entries = 2 * rows;
  return {
    name: `${rows} x ${dim}`,
    uniforms: { rows, dim, entries },
    make: (random) => ({
      x: normals(rows * dim, random),
      ids: Uint32Array.from(
        { length: rows },
        (_, row) => rows > 1 && row === rows - 1 ? 0xffffffff : 2 * (rows - 1 - row),
      ),
      y: normals(entries * dim, random),
    }),
  };
}

/** Cases of {@linkcode scatterRows}. */
export const scatterRowsCases: KernelCases = casesFor(scatterRows, {
  cases: [sized(1, 1), sized(7, 37), sized(5, 256)],
});

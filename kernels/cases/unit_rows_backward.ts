import { normals } from "../kernel.ts";
import { unitRowsBackward } from "../unit_rows_backward.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (rows: number, dim: number, offset: number): CaseOf<typeof unitRowsBackward> => ({
  name: `${rows} x ${dim} at ${offset}`,
  uniforms: { rows, dim, offset, norm: Math.SQRT2 },
  make: (random) => ({
    values: normals(offset + rows * dim + 3, random),
    dy: normals(rows * dim, random),
    gradient: normals(offset + rows * dim + 3, random),
  }),
});

/** Cases of {@linkcode unitRowsBackward}. */
export const unitRowsBackwardCases: KernelCases = casesFor(unitRowsBackward, {
  cases: [sized(1, 2, 0), sized(3, 257, 5), sized(8, 64, 4)],
});

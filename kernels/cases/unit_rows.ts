import { nans, normals } from "../kernel.ts";
import { unitRows } from "../unit_rows.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (rows: number, dim: number, offset: number): CaseOf<typeof unitRows> => ({
  name: `${rows} x ${dim} at ${offset}`,
  uniforms: { rows, dim, offset, norm: Math.SQRT2 },
  make: (random) => ({ values: normals(offset + rows * dim + 3, random), y: nans(rows * dim) }),
});

/** Cases of {@linkcode unitRows}. */
export const unitRowsCases: KernelCases = casesFor(unitRows, {
  cases: [sized(1, 1, 0), sized(3, 257, 5), sized(8, 64, 4)],
});

import { normals } from "../kernel.ts";
import { scaleColumns } from "../scale_columns.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (rows: number, out: number, offset: number): CaseOf<typeof scaleColumns> => ({
  name: `${rows} x ${out}, factors at ${offset}`,
  uniforms: { rows, out, offset },
  make: (random) => ({ values: normals(offset + out + 3, random), y: normals(rows * out, random) }),
});

/** Cases of {@linkcode scaleColumns}. */
export const scaleColumnsCases: KernelCases = casesFor(scaleColumns, {
  cases: [sized(1, 1, 0), sized(3, 257, 5), sized(5, 64, 8)],
});

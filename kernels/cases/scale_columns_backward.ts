import { normals } from "../kernel.ts";
import { scaleColumnsBackward } from "../scale_columns_backward.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (rows: number, out: number, offset: number): CaseOf<typeof scaleColumnsBackward> => ({
  name: `${rows} x ${out}, factors at ${offset}`,
  uniforms: { rows, out, offset },
  make: (random) => ({
    t: normals(rows * out, random),
    values: normals(offset + out + 3, random),
    gradient: normals(offset + out + 3, random),
    dy: normals(rows * out, random),
  }),
});

/** Cases of {@linkcode scaleColumnsBackward}. */
export const scaleColumnsBackwardCases: KernelCases = casesFor(scaleColumnsBackward, {
  cases: [sized(1, 1, 0), sized(3, 33, 5), sized(37, 16, 8), sized(530, 20, 0)],
});

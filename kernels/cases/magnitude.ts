import { normals } from "../kernel.ts";
import { magnitude } from "../magnitude.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (rows: number, out: number, offset: number): CaseOf<typeof magnitude> => ({
  name: `${rows} x ${out}, magnitudes at ${offset}`,
  uniforms: { rows, out, offset },
  make: (random) => ({
    values: normals(offset + out + 3, random),
    norms: Float32Array.from({ length: out }, () => 0.5 + random()),
    y: normals(rows * out, random),
  }),
});

/** Cases of {@linkcode magnitude}. */
export const magnitudeCases: KernelCases = casesFor(magnitude, {
  cases: [sized(1, 1, 0), sized(3, 257, 5), sized(5, 64, 8)],
});

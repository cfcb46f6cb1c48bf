import { addBias } from "../add_bias.ts";
import { normals } from "../kernel.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (rows: number, out: number, column = 0): CaseOf<typeof addBias> => ({
  name: `${rows} x ${out}, from ${column} on`,
  uniforms: { rows, out, column },
  make: (random) => ({ bias: normals(column + out + 2, random), y: normals(rows * out, random) }),
});

/** Cases of {@linkcode addBias}. */
export const addBiasCases: KernelCases = casesFor(addBias, {
  cases: [sized(1, 1), sized(3, 257, 5), sized(5, 64, 64)],
});

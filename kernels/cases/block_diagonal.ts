import { nans, normals } from "../kernel.ts";
import { blockDiagonal } from "../block_diagonal.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (rows: number, dim: number, copies: number): CaseOf<typeof blockDiagonal> => ({
  name: `${copies} of ${rows} x ${dim}`,
  uniforms: { rows, dim, copies },
  make: (random) => ({ x: normals(rows * dim, random), y: nans(copies * rows * copies * dim) }),
});

/** Cases of {@linkcode blockDiagonal}. */
export const blockDiagonalCases: KernelCases = casesFor(blockDiagonal, {
  cases: [sized(1, 1, 1), sized(3, 37, 5), sized(2, 257, 2)],
});

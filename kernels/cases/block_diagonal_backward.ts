import { normals } from "../kernel.ts";
import { blockDiagonalBackward } from "../block_diagonal_backward.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (rows: number, dim: number, copies: number): CaseOf<typeof blockDiagonalBackward> => ({
  name: `${copies} of ${rows} x ${dim}`,
  uniforms: { rows, dim, copies },
  make: (random) => ({
    dy: normals(copies * rows * copies * dim, random),
    dx: normals(rows * dim, random),
  }),
});

/** Cases of {@linkcode blockDiagonalBackward}. */
export const blockDiagonalBackwardCases: KernelCases = casesFor(blockDiagonalBackward, {
  cases: [sized(1, 1, 1), sized(3, 37, 5), sized(2, 257, 2)],
});

import { normals } from "../kernel.ts";
import { ownNorm } from "../own_norm.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { ownRecords } from "./own.ts";

function sized(rows: number, dim: number, centred: 0 | 1): CaseOf<typeof ownNorm> {
  const { uniforms, ...own } = ownRecords(rows, (slot) => [0, 3 + slot * dim, dim, 0]);
  return {
    name: `${rows} x ${dim}${centred ? ", centred" : ""}`,
    uniforms: { ...uniforms, dim, centred, eps: 1e-5 },
    make: (random) => ({
      ...own,
      x: normals(rows * dim, random).map((value) => value + 1),
      values: normals(3 + 3 * dim, random),
      y: normals(rows * dim, random),
    }),
  };
}

/** Cases of {@linkcode ownNorm}. */
export const ownNormCases: KernelCases = casesFor(ownNorm, {
  cases: [sized(1, 1, 0), sized(5, 255, 0), sized(5, 257, 1), sized(3, 64, 1)],
});

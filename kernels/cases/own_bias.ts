import { normals } from "../kernel.ts";
import { ownBias } from "../own_bias.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { ownRecords } from "./own.ts";

function sized(
  rows: number,
  { out, stride = out, column = 0 }: {
    readonly out: number;
    readonly stride?: number;
    readonly column?: number;
  },
): CaseOf<typeof ownBias> {
  const { uniforms, ...own } = ownRecords(rows, (slot) => [0, 3 + slot * out, out, 0]);
  return {
    name: `${rows} x ${out} at ${column} of ${stride}`,
    uniforms: { ...uniforms, out, stride, column },
    make: (random) => ({ ...own, values: normals(3 + 3 * out, random), y: normals(rows * stride, random) }),
  };
}

/** Cases of {@linkcode ownBias}. */
export const ownBiasCases: KernelCases = casesFor(ownBias, {
  cases: [
    sized(1, { out: 1 }),
    sized(7, { out: 37, stride: 64, column: 20 }),
    sized(5, { out: 257 }),
  ],
});

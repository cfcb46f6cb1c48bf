import { nans, normals } from "../kernel.ts";
import { tileFactors } from "../tile_factors.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(uniforms: CaseOf<typeof tileFactors>["uniforms"]): CaseOf<typeof tileFactors> {
  const { rank, in: inSize, out, length, back } = uniforms, count = rank * (inSize + out);
  return {
    name: `(${out}, ${inSize}) of rank ${rank} in vectors of ${length}${back ? ", back" : ""}`,
    uniforms,
    make: (random) => ({ x: normals(count, random), y: nans(count) }),
  };
}

/** Cases of {@linkcode tileFactors}. */
export const tileFactorsCases: KernelCases = casesFor(tileFactors, {
  cases: [
    sized({ rank: 1, in: 1, out: 1, length: 1, back: 0 }),
    sized({ rank: 3, in: 35, out: 21, length: 7, back: 0 }),
    sized({ rank: 5, in: 48, out: 64, length: 16, back: 1 }),
  ],
});

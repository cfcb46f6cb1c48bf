import { clipFactor } from "../clip_factor.ts";
import { nans } from "../kernel.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (count: number, maxNorm: number): CaseOf<typeof clipFactor> => ({
  name: `${count} sums, at most ${maxNorm}`,
  uniforms: { count, maxNorm },
  make: (random) => ({ sums: Float32Array.from({ length: count }, random), clip: nans(2) }),
});

/** Cases of {@linkcode clipFactor}. */
export const clipFactorCases: KernelCases = casesFor(clipFactor, {
  cases: [sized(1, 0.001), sized(1, 100), sized(251, 1)],
});

import { normals } from "../kernel.ts";
import { rotatePairs } from "../rotate_pairs.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { type SideBySideSizes, twoAdapters } from "./two_adapters.ts";

function sized(
  { group, ...sizes }: SideBySideSizes & { readonly group: number },
): CaseOf<typeof rotatePairs> {
  const { outs, slots } = sizes;
  const { uniforms, records, values } = twoAdapters(sizes, { count: group, sizeOf: (out) => 2 * out });
  return {
    name: `${slots.length} x ${outs.join(", ")}, groups of ${group}`,
    uniforms,
    make: (random) => ({
      slots: Uint32Array.from(slots),
      records,
      values: normals(values, random),
      y: normals(slots.length * outs.reduce((sum, out) => sum + out, 0), random),
    }),
  };
}

/** Cases of {@linkcode rotatePairs}. */
export const rotatePairsCases: KernelCases = casesFor(rotatePairs, {
  cases: [
    sized({ in: 1, outs: [2], slots: [0], group: 2 }),
    // The last linear, whose size no group divides, is of the second adapter alone, which leaves it as it is.
    sized({ in: 5, outs: [36, 18, 7], slots: [1, 0xffffffff, 2, 1], group: 6 }),
    sized({ in: 16, outs: [256, 64, 320], slots: [1, 0, 0xffffffff], group: 64 }),
    sized({ in: 16, outs: [30, 258], slots: [1, 0], group: 2 }),
  ],
});

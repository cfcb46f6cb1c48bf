import { normals } from "../kernel.ts";
import { reflectOutputs } from "../reflect_outputs.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { type SideBySideSizes, twoAdapters } from "./two_adapters.ts";

function sized(
  { blocks, ...sizes }: SideBySideSizes & { readonly blocks: number },
): CaseOf<typeof reflectOutputs> {
  const count = 2, { in: inSize, outs, slots } = sizes;
  const factors = (out: number): number => count * (inSize + out);
  const { uniforms, records, values } = twoAdapters(sizes, {
    count,
    sizeOf: (out) => factors(out) + 1 + 2 * out,
  });
  return {
    name: `${slots.length} x ${outs.join(", ")}, ${blocks} blocks`,
    uniforms,
    make(random) {
      const numbers = normals(values, random, Math.sqrt(blocks / Math.max(...outs)));
      outs.forEach((out, i) => {
        for (let slot = 0; slot < 2; slot++) {
          numbers[records[4 * ((1 + i) * 2 + slot) + 1] + factors(out)] = blocks;
        }
      });
      return {
        slots: Uint32Array.from(slots),
        records,
        values: numbers,
        y: normals(slots.length * outs.reduce((sum, out) => sum + out, 0), random),
      };
    },
  };
}

/** Cases of {@linkcode reflectOutputs}. */
export const reflectOutputsCases: KernelCases = casesFor(reflectOutputs, {
  cases: [
    sized({ in: 1, outs: [1], slots: [0], blocks: 1 }),
    sized({ in: 5, outs: [36, 18, 6], slots: [1, 0xffffffff, 2, 0], blocks: 3 }),
    sized({ in: 3, outs: [30, 258], slots: [1, 0], blocks: 6 }),
    sized({ in: 16, outs: [1031, 257, 513], slots: [1, 0, 0xffffffff], blocks: 1 }),
  ],
});

import { normals } from "../kernel.ts";
import { scaleOutputs } from "../scale_outputs.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { type SideBySideSizes, twoAdapters } from "./two_adapters.ts";

function sized(
  { factors, ...sizes }: SideBySideSizes & { readonly factors: 0 | 1 },
): CaseOf<typeof scaleOutputs> {
  const count = 3, { in: inSize, outs, slots } = sizes;
  const { uniforms, records, values } = twoAdapters(sizes, {
    count,
    sizeOf: (out) => count * (inSize + out) + out,
  });
  return {
    name: `${slots.length} x ${outs.join(", ")}${factors ? ", after factors" : ""}`,
    uniforms: { ...uniforms, factors },
    make: (random) => ({
      slots: Uint32Array.from(slots),
      records,
      values: normals(values, random),
      y: normals(slots.length * outs.reduce((sum, out) => sum + out, 0), random),
    }),
  };
}

/** Cases of {@linkcode scaleOutputs}. */
export const scaleOutputsCases: KernelCases = casesFor(scaleOutputs, {
  cases: [
    sized({ in: 1, outs: [1], slots: [0], factors: 0 }),
    sized({ in: 5, outs: [37, 8], slots: [0, 1, 0xffffffff, 2, 1], factors: 1 }),
    sized({ in: 16, outs: [256, 64, 65], slots: [1, 0, 0xffffffff], factors: 1 }),
    sized({ in: 16, outs: [30, 257], slots: [1, 0], factors: 0 }),
  ],
});

import { normals } from "../kernel.ts";
import { weightGradient } from "../weight_gradient.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(
  size: Omit<CaseOf<typeof weightGradient>["uniforms"], "scale">,
): CaseOf<typeof weightGradient> {
  const { rows, in: inSize, out, offset } = size;
  return {
    name: `${rows} rows, ${inSize} to ${out} at ${offset}`,
    uniforms: { ...size, scale: 0.5 },
    make: (random) => ({
      dy: normals(rows * out, random),
      x: normals(rows * inSize, random),
      gradient: normals(offset + out * inSize + 3, random),
    }),
  };
}

/** Cases of {@linkcode weightGradient}. */
export const weightGradientCases: KernelCases = casesFor(weightGradient, {
  cases: [
    sized({ rows: 1, in: 1, out: 1, offset: 0 }),
    sized({ rows: 7, in: 31, out: 35, offset: 5 }),
    sized({ rows: 530, in: 20, out: 33, offset: 0 }),
    sized({ rows: 65, in: 64, out: 68, offset: 4 }),
  ],
  benches: [{
    ...sized({ rows: 2048, in: 256, out: 256, offset: 0 }),
    bytes: 4 * (2048 * 2 * 256 + 2 * 256 * 256),
    flops: 2 * 2048 * 256 * 256,
  }],
});

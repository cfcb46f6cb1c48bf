import { addScaled } from "../add_scaled.ts";
import { normals } from "../kernel.ts";
import { multiplyBy, multiplyByBackward } from "../multiply_by.ts";
import { softcap } from "../softcap.ts";
import type { KernelCases } from "./case.ts";
import { type ElementwiseCase, elementwiseCases } from "./elementwise.ts";

const counts = [1, 251, 256, 257];

const factors = {
  cases: counts.map((count, i) => ({ count, uniforms: { factor: [3, -0.5, 0, 0.22][i] } })),
  bench: { count: 2 ** 22, uniforms: { factor: 0.22 } },
};

/** Numbers from those far below the cap to those far above it. */
const caps: readonly ElementwiseCase<"y", "cap" | "count">[] = counts.map((count, i) => ({
  count,
  uniforms: { cap: [30, 0.5, 2, 50][i] },
  inputs: (random) => ({ y: normals(count, random, [1, 4, 1, 1000][i]) }),
}));

/** Cases of elementwise kernels with a number of the model's. */
export const scalingCases: readonly KernelCases[] = [
  elementwiseCases(addScaled, factors),
  elementwiseCases(multiplyBy, factors),
  elementwiseCases(multiplyByBackward, factors),
  elementwiseCases(softcap, { cases: caps, bench: { count: 2 ** 22, uniforms: { cap: 30 } } }),
];

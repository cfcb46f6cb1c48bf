import { adamw, adamwHyper, type AdamwStep } from "../adamw.ts";
import { normals } from "../kernel.ts";
import type { KernelCases } from "./case.ts";
import { type ElementwiseCase, elementwiseCases } from "./elementwise.ts";

/** A size at one step of training, with gradients that are clipped by a factor. */
function at(
  count: number,
  options: AdamwStep,
  factor = 1,
): ElementwiseCase<keyof typeof adamw["buffers"], "count"> {
  const moments = options.step > 1 ? 0.1 : 0;
  return {
    count,
    inputs: (random) => ({
      grads: normals(count, random, 0.1),
      m: normals(count, random, moments),
      v: normals(count, random, moments).map((x) => x * x),
      hyper: adamwHyper(options),
      clip: Float32Array.of(7, factor),
    }),
  };
}

/** Cases of {@linkcode adamw}. */
export const adamwCases: KernelCases = elementwiseCases(adamw, {
  cases: [
    at(1, { step: 1, lr: 1e-3 }),
    at(251, { step: 1, lr: 1e-2, weightDecay: 0 }, 0.25),
    at(256, { step: 1000, lr: 1e-3, beta1: 0.8, beta2: 0.95, eps: 1e-6, weightDecay: 0.1 }),
    at(257, { step: 7, lr: 0.05 }, 0.01),
  ],
  bench: at(2 ** 22, { step: 2, lr: 1e-3 }),
});

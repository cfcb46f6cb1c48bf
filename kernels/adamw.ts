import { elementwise } from "./elementwise.ts";
import type { Kernel } from "./kernel.ts";

type Buffers = "params" | "grads" | "m" | "v" | "hyper" | "clip";

/** The numbers of one optimizer step, by torch.optim.AdamW's names and defaults. */
export interface AdamwStep {
  /** Steps taken with this one: 1 for the first. */
  readonly step: number;
  readonly lr: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
}

/**
 * The `hyper` words of a step (8 float32), computed in float64 and rounded once, for 1 - beta2 has few digits left
 * in float32: 1 - lr weightDecay, 1 - beta1, beta2, 1 - beta2, lr / (1 - beta1^step), sqrt(1 - beta2^step), eps, 0.
 */
export function adamwHyper(options: AdamwStep): Float32Array {
  const { step, lr, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0.01 } = options;
  return Float32Array.of(
    1 - lr * weightDecay,
    1 - beta1,
    beta2,
    1 - beta2,
    lr / (1 - beta1 ** step),
    Math.sqrt(1 - beta2 ** step),
    eps,
    0,
  );
}

/** One step of AdamW with decoupled weight decay, as torch.optim.AdamW takes it. */
export const adamw: Kernel<Buffers, "count"> = elementwise({
  name: "adamw",
  doc:
    "g = grads[i] clip[1]; m[i] += (1 - beta1) (g - m[i]); v[i] = beta2 v[i] + (1 - beta2) g^2; params[i] = " +
    "params[i] (1 - lr weightDecay) - lr / (1 - beta1^step) m[i] / (sqrt(v[i]) / sqrt(1 - beta2^step) + eps). " +
    "Gradients are left as they are",
  buffers: {
    params: "update",
    grads: "read",
    m: "update",
    v: "update",
    hyper: { shared: "(8): words of `adamwHyper`" },
    clip: { shared: "(2): as `clip_factor` writes it; element 1 is used" },
  },
  wgsl: `
  let g = grads[i] * clip[1];
  let first = m[i] + hyper[1] * (g - m[i]);
  let second = hyper[2] * v[i] + hyper[3] * g * g;
  m[i] = first;
  v[i] = second;
  params[i] = params[i] * hyper[0] - hyper[4] * first / (sqrt(second) / hyper[5] + hyper[6]);`,
  reference({ params, grads, m, v, hyper, clip }, { count }) {
    const [keep, rate1, beta2, rate2, size, bias, eps] = hyper;
    for (let i = 0; i < count; i++) {
      const g = grads[i] * clip[1];
      const first = m[i] + rate1 * (g - m[i]);
      const second = beta2 * v[i] + rate2 * g * g;
      m[i] = first;
      v[i] = second;
      params[i] = params[i] * keep - size * first / (Math.sqrt(second) / bias + eps);
    }
  },
  tolerance: 1e-6,
});

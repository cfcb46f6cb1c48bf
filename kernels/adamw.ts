import {
  type Case,
  defineKernel,
  grid,
  type Kernel,
  normals,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "params" | "grads" | "m" | "v" | "hyper" | "clip";

const uniforms = { count: "u32" } as const;

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

const wgsl = /* wgsl */ `
struct Hyper { keep: f32, rate1: f32, beta2: f32, rate2: f32, size: f32, bias: f32, eps: f32, unused: f32 }
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read_write> params: array<f32>;
@group(0) @binding(2) var<storage, read> grads: array<f32>;
@group(0) @binding(3) var<storage, read_write> m: array<f32>;
@group(0) @binding(4) var<storage, read_write> v: array<f32>;
@group(0) @binding(5) var<storage, read> hyper: Hyper;
@group(0) @binding(6) var<storage, read> clip: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.count) { return; }
  let g = grads[i] * clip[1];
  let first = m[i] + hyper.rate1 * (g - m[i]);
  let second = hyper.beta2 * v[i] + hyper.rate2 * g * g;
  m[i] = first;
  v[i] = second;
  params[i] = params[i] * hyper.keep - hyper.size * first / (sqrt(second) / hyper.bias + hyper.eps);
}
`;

function sized(count: number, options: AdamwStep, factor = 1): Case<Buffers, "count"> {
  return {
    name: `${count}, step ${options.step}, gradients times ${factor}`,
    uniforms: { count },
    make: (random) => ({
      params: normals(count, random),
      grads: normals(count, random, 0.1),
      m: normals(count, random, options.step > 1 ? 0.1 : 0),
      v: normals(count, random, options.step > 1 ? 0.1 : 0).map((x) => x * x),
      hyper: adamwHyper(options),
      clip: Float32Array.of(7, factor),
    }),
  };
}

/** One step of AdamW with decoupled weight decay, as torch.optim.AdamW takes it. */
export const adamw: Kernel<Buffers, "count"> = defineKernel({
  name: "adamw",
  doc:
    "g = grads[i] clip[1]; m[i] += (1 - beta1) (g - m[i]); v[i] = beta2 v[i] + (1 - beta2) g^2; params[i] = " +
    "params[i] (1 - lr weightDecay) - lr / (1 - beta1^step) m[i] / (sqrt(v[i]) / sqrt(1 - beta2^step) + eps). " +
    "Gradients are left as they are",
  buffers: {
    params: { access: "read_write", dtypes: ["float32"], doc: "(count)" },
    grads: { access: "read", dtypes: ["float32"], doc: "(count)" },
    m: { access: "read_write", dtypes: ["float32"], doc: "(count): zeros before the first step" },
    v: { access: "read_write", dtypes: ["float32"], doc: "(count): zeros before the first step" },
    hyper: { access: "read", dtypes: ["float32"], doc: "(8): words of `adamwHyper`" },
    clip: { access: "read", dtypes: ["float32"], doc: "(2): as `clip_factor` writes it; element 1 is used" },
  },
  uniforms,
  launch: ({ uniforms: { count } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "params", access: "read_write" },
        { name: "grads", access: "read" },
        { name: "m", access: "read_write" },
        { name: "v", access: "read_write" },
        { name: "hyper", access: "read" },
        { name: "clip", access: "read" },
      ],
      grid: grid(Math.ceil(count / 256), limits),
    }],
  }),
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
  cases: [
    sized(1, { step: 1, lr: 1e-3 }),
    sized(251, { step: 1, lr: 1e-2, weightDecay: 0 }, 0.25),
    sized(256, { step: 1000, lr: 1e-3, beta1: 0.8, beta2: 0.95, eps: 1e-6, weightDecay: 0.1 }),
    sized(257, { step: 7, lr: 0.05 }, 0.01),
  ],
  benches: [{ ...sized(2 ** 22, { step: 2, lr: 1e-3 }), bytes: 7 * 2 ** 24 }],
});

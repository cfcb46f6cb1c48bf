import {
  defineKernel,
  type DType,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { loader, storageType } from "./half.ts";

type Buffers = "dy" | "x" | "weight" | "dx";
type Uniforms = "rows" | "dim" | "eps";

const uniforms = { rows: "u32", dim: "u32", eps: "f32" } as const;

const wgsl = (dtype: DType): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<${storageType(dtype)}>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
${loader("weight", dtype)}
var<workgroup> sums: array<vec3f, 256>;

fn total(local: u32, part: vec3f) -> vec3f {
  workgroupBarrier();
  sums[local] = part;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  return sums[0];
}

// One workgroup a row. The mean comes first: the other three sums are of what is left without it.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let begin = row * uniforms.dim;
  let count = f32(uniforms.dim);
  var sum = 0.0;
  for (var i = local; i < uniforms.dim; i += 256) { sum += x[begin + i]; }
  let mean = total(local, vec3f(sum, 0, 0)).x / count;
  var parts = vec3f();
  for (var i = local; i < uniforms.dim; i += 256) {
    let value = x[begin + i] - mean;
    let pulled = dy[begin + i] * weight_at(i);
    parts += vec3f(value * value, pulled, pulled * value);
  }
  let means = total(local, parts) / count;
  let factor = inverseSqrt(means.x + uniforms.eps);
  let pull = means.z * factor * factor;
  for (var i = local; i < uniforms.dim; i += 256) {
    dx[begin + i] += factor * (dy[begin + i] * weight_at(i) - means.y - (x[begin + i] - mean) * pull);
  }
}
`;

/** The gradient of layer normalisation by its input; its weight and bias are frozen. */
export const layerNormBackward: Kernel<Buffers, Uniforms> = defineKernel({
  name: "layer_norm_backward",
  doc:
    "dx[r, i] += f (g[i] - mean of g - (x[r, i] - m) f^2 mean over j of g[j] (x[r, j] - m)), where g[i] = weight[i] dy[r, i], " +
    "m is the mean of x[r, :] and f = 1 / sqrt(mean over j of (x[r, j] - m)^2 + eps)",
  buffers: {
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    x: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major: the input of layer_norm" },
    weight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(dim)" },
    dx: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major, added to" },
  },
  uniforms,
  launch: ({ uniforms: { rows }, dtypes }, limits) => ({
    dispatches: [{
      wgsl: wgsl(dtypes.weight),
      bindings: [
        { name: "dy", access: "read" },
        { name: "x", access: "read" },
        { name: "weight", access: "read" },
        { name: "dx", access: "read_write" },
      ],
      grid: grid(rows, limits),
    }],
  }),
  reference({ dy, x, weight, dx }, { rows, dim, eps }) {
    for (let r = 0; r < rows; r++) {
      const begin = r * dim;
      let sum = 0, squares = 0, pulls = 0, products = 0;
      for (let i = 0; i < dim; i++) sum += x[begin + i];
      const mean = sum / dim;
      for (let i = 0; i < dim; i++) {
        const value = x[begin + i] - mean, pulled = dy[begin + i] * weight[i];
        squares += value ** 2;
        pulls += pulled;
        products += pulled * value;
      }
      const factor = 1 / Math.sqrt(squares / dim + eps);
      const pull = factor * factor * products / dim;
      for (let i = 0; i < dim; i++) {
        const value = x[begin + i] - mean;
        dx[begin + i] += factor * (dy[begin + i] * weight[i] - pulls / dim - value * pull);
      }
    }
  },
  tolerance: 1e-5,
});

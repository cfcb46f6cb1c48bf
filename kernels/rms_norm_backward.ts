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
var<workgroup> sums: array<vec2f, 256>;

// One workgroup a row; both sums of a row together.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let begin = row * uniforms.dim;
  var sum = vec2f();
  for (var i = local; i < uniforms.dim; i += 256) {
    let value = x[begin + i];
    sum += value * vec2f(value, dy[begin + i] * weight_at(i));
  }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  let means = sums[0] / f32(uniforms.dim);
  let factor = inverseSqrt(means.x + uniforms.eps);
  let pull = means.y * factor * factor;
  for (var i = local; i < uniforms.dim; i += 256) {
    dx[begin + i] += factor * (dy[begin + i] * weight_at(i) - x[begin + i] * pull);
  }
}
`;

/** The gradient of root-mean-square normalisation by its input; its weight is frozen. */
export const rmsNormBackward: Kernel<Buffers, Uniforms> = defineKernel({
  name: "rms_norm_backward",
  doc: "dx[r, i] += f (weight[i] dy[r, i] - x[r, i] f^2 mean over j of weight[j] dy[r, j] x[r, j]), where " +
    "f = 1 / sqrt(mean of x[r, :]^2 + eps)",
  buffers: {
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    x: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major: the input of rms_norm" },
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
      let squares = 0, products = 0;
      for (let i = 0; i < dim; i++) {
        squares += x[begin + i] ** 2;
        products += x[begin + i] * dy[begin + i] * weight[i];
      }
      const factor = 1 / Math.sqrt(squares / dim + eps);
      const pull = factor * factor * products / dim;
      for (let i = 0; i < dim; i++) {
        dx[begin + i] += factor * (dy[begin + i] * weight[i] - x[begin + i] * pull);
      }
    }
  },
  wasm: ({ rows, dim, eps }) => ({
    function: "rms_norm_backward",
    args: ["dy", "x", "weight", "dx", dim, eps],
    items: rows,
    work: 8 * rows * dim,
  }),
  tolerance: 1e-5,
});

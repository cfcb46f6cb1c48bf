import { layerNormBackward } from "./layer_norm_backward.ts";
import {
  anyKernel,
  defineKernel,
  type DType,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { loader, storageType } from "./half.ts";

type Buffers = "x" | "weight" | "bias" | "y";
type Uniforms = "rows" | "dim" | "eps";

const uniforms = { rows: "u32", dim: "u32", eps: "f32" } as const;

const wgsl = (weight: DType, bias: DType): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<${storageType(weight)}>;
@group(0) @binding(3) var<storage, read> bias: array<${storageType(bias)}>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
${loader("weight", weight)}
${loader("bias", bias)}
var<workgroup> sums: array<f32, 256>;

fn total(local: u32, part: f32) -> f32 {
  workgroupBarrier();
  sums[local] = part;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  return sums[0];
}

// One workgroup a row. Squares are of what is left without the mean: nothing cancels.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let begin = row * uniforms.dim;
  var sum = 0.0;
  for (var i = local; i < uniforms.dim; i += 256) { sum += x[begin + i]; }
  let mean = total(local, sum) / f32(uniforms.dim);
  var squares = 0.0;
  for (var i = local; i < uniforms.dim; i += 256) {
    let value = x[begin + i] - mean;
    squares += value * value;
  }
  let all = total(local, squares);
  var factor = inverseSqrt(all / f32(uniforms.dim) + uniforms.eps);
  // By bits: compilers may take it that no float is infinite.
  if (bitcast<u32>(all) >= 0x7f800000u) { factor = bitcast<f32>(bitcast<u32>(all) | 0x7fc00000u); }
  for (var i = local; i < uniforms.dim; i += 256) {
    y[begin + i] = (x[begin + i] - mean) * factor * weight_at(i) + bias_at(i);
  }
}
`;

/** Layer normalisation of each row. */
export const layerNorm: Kernel<Buffers, Uniforms> = defineKernel({
  name: "layer_norm",
  doc:
    "y[r, i] = (x[r, i] - m) / sqrt(mean over j of (x[r, j] - m)^2 + eps) * weight[i] + bias[i], where m is the mean of " +
    "x[r, :]. A row whose sum of squares is beyond float32 is NaN: dividing by it would give the bias, which looks like " +
    "an answer",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    weight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(dim)" },
    bias: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(dim)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows }, dtypes }, limits) => ({
    dispatches: [{
      wgsl: wgsl(dtypes.weight, dtypes.bias),
      bindings: [
        { name: "x", access: "read" },
        { name: "weight", access: "read" },
        { name: "bias", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(rows, limits),
    }],
  }),
  reference({ x, weight, bias, y }, { rows, dim, eps }) {
    for (let r = 0; r < rows; r++) {
      const begin = r * dim;
      let sum = 0, squares = 0;
      for (let i = 0; i < dim; i++) sum += x[begin + i];
      const mean = sum / dim;
      for (let i = 0; i < dim; i++) squares += (x[begin + i] - mean) ** 2;
      const factor = Number.isFinite(Math.fround(squares)) ? 1 / Math.sqrt(squares / dim + eps) : NaN;
      for (let i = 0; i < dim; i++) y[begin + i] = (x[begin + i] - mean) * factor * weight[i] + bias[i];
    }
  },
  backward: (uniforms) => ({
    steps: [{
      kernel: anyKernel(layerNormBackward),
      values: { x: "x", weight: "weight" },
      gradients: { dy: "y" },
      targets: { dx: { of: "x", mode: "add" } },
      uniforms,
    }],
    overwritten: ["y"],
  }),
  tolerance: 1e-5,
});

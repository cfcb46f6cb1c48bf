import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "t" | "values" | "norms" | "gradient" | "dy";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", out: "u32", offset: "u32" } as const;

/** Outputs of one workgroup: neighbours in memory. */
const columns = 16;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> t: array<f32>;
@group(0) @binding(2) var<storage, read> values: array<f32>;
@group(0) @binding(3) var<storage, read> norms: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> dy: array<f32>;

var<workgroup> sums: array<f32, 256>;

// One workgroup for ${columns} outputs; a thread takes every ${256 / columns}th row of one.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let output = (${workgroupIndex}) * ${columns} + local % ${columns};
  var sum = 0.0;
  if (output < uniforms.out) {
    let factor = values[uniforms.offset + output] / norms[output];
    for (var row = local / ${columns}; row < uniforms.rows; row += ${256 / columns}) {
      let at = row * uniforms.out + output;
      sum += dy[at] * t[at];
      dy[at] *= factor;
    }
  }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 128u; half >= ${columns}; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  if (local < ${columns} && output < uniforms.out) {
    gradient[uniforms.offset + output] += sums[local] / norms[output];
  }
}
`;

/** The gradients of `magnitude`; the norms are constants, as in PEFT. */
export const magnitudeBackward: Kernel<Buffers, Uniforms> = defineKernel({
  name: "magnitude_backward",
  doc: "gradient[offset + o] += sum over r of dy[r, o] t[r, o] / norms[o], in a fixed order; then " +
    "dy[r, o] *= values[offset + o] / norms[o]: the gradient of t in y = t values / norms",
  buffers: {
    t: { access: "read", dtypes: ["float32"], doc: "(rows, out), row-major" },
    values: { access: "read", dtypes: ["float32"], doc: "from element `offset` on: magnitudes (out)" },
    norms: { access: "read", dtypes: ["float32"], doc: "(out)" },
    gradient: { access: "read_write", dtypes: ["float32"], doc: "laid out as values, added to" },
    dy: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major, in place" },
  },
  uniforms,
  launch: ({ uniforms: { out } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "t", access: "read" },
        { name: "values", access: "read" },
        { name: "norms", access: "read" },
        { name: "gradient", access: "read_write" },
        { name: "dy", access: "read_write" },
      ],
      grid: grid(Math.ceil(out / columns), limits),
    }],
  }),
  reference({ t, values, norms, gradient, dy }, { rows, out, offset }) {
    for (let o = 0; o < out; o++) {
      let sum = 0;
      for (let r = 0; r < rows; r++) {
        sum += dy[r * out + o] * t[r * out + o];
        dy[r * out + o] *= values[offset + o] / norms[o];
      }
      gradient[offset + o] += sum / norms[o];
    }
  },
  tolerance: 1e-6,
});

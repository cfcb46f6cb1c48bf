import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "weights" | "dweights" | "gradient";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", vectors: "u32", offset: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> dweights: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;

var<workgroup> sums: array<f32, 64>;

// One workgroup a row.
@compute @workgroup_size(64)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let begin = row * uniforms.vectors;
  var sum = 0.0;
  for (var j = local; j < uniforms.vectors; j += 64) { sum += weights[begin + j] * dweights[begin + j]; }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  for (var j = local; j < uniforms.vectors; j += 64) {
    gradient[uniforms.offset + begin + j] += weights[begin + j] * (dweights[begin + j] - sums[0]);
  }
}
`;

/** The gradient of `top_softmax`: numbers that it did not take have none. */
export const topSoftmaxBackward: Kernel<Buffers, Uniforms> = defineKernel({
  name: "top_softmax_backward",
  doc:
    "gradient[offset..][r, j] += weights[r, j] (dweights[r, j] - sum over i of weights[r, i] dweights[r, i])",
  buffers: {
    weights: {
      access: "read",
      dtypes: ["float32"],
      doc: "(rows, vectors), row-major: what top_softmax gave",
    },
    dweights: { access: "read", dtypes: ["float32"], doc: "(rows, vectors), row-major: their gradient" },
    gradient: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "from element `offset` on: (rows, vectors), row-major, added to",
    },
  },
  uniforms,
  launch: ({ uniforms: { rows } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "weights", access: "read" },
        { name: "dweights", access: "read" },
        { name: "gradient", access: "read_write" },
      ],
      grid: grid(rows, limits),
    }],
  }),
  reference({ weights, dweights, gradient }, { rows, vectors, offset }) {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let at = r * vectors; at < (r + 1) * vectors; at++) sum += weights[at] * dweights[at];
      for (let at = r * vectors; at < (r + 1) * vectors; at++) {
        gradient[offset + at] += weights[at] * (dweights[at] - sum);
      }
    }
  },
  tolerance: 1e-5,
});

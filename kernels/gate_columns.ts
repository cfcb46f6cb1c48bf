import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "gate" | "y";
type Uniforms = "rows" | "dim" | "stride" | "at" | "group" | "groupStride" | "silu";

const uniforms = {
  rows: "u32",
  dim: "u32",
  stride: "u32",
  at: "u32",
  group: "u32",
  groupStride: "u32",
  silu: "u32",
} as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gate: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  let column = i % uniforms.dim;
  let group_at = column / uniforms.group * uniforms.groupStride + column % uniforms.group;
  let g = gate[i / uniforms.dim * uniforms.stride + uniforms.at + group_at];
  // exp of a number <= 0 cannot overflow.
  let e = exp(-abs(g));
  let sigmoid = select(e, 1.0, g >= 0) / (1 + e);
  y[i] = x[i] * select(sigmoid, g * sigmoid, uniforms.silu != 0);
}
`;

/** Numbers times the sigmoid of gates that stand among other columns. */
export const gateColumns: Kernel<Buffers, Uniforms> = defineKernel({
  name: "gate_columns",
  doc:
    "y[r, c] = x[r, c] f(gate[r, at + groupStride floor(c / group) + c mod group]), where f(g) = 1 / (1 + exp(-g)), or g " +
    "times that where `silu` is not 0",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    gate: { access: "read", dtypes: ["float32"], doc: "(rows, stride), row-major" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "x", access: "read" },
        { name: "gate", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows * dim / 256), limits),
    }],
  }),
  reference({ x, gate, y }, { rows, dim, stride, at, group, groupStride, silu }) {
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < dim; c++) {
        const g = gate[r * stride + at + groupStride * Math.floor(c / group) + c % group];
        const sigmoid = 1 / (1 + Math.exp(-g));
        y[r * dim + c] = x[r * dim + c] * (silu ? g * sigmoid : sigmoid);
      }
    }
  },
  tolerance: 1e-5,
});

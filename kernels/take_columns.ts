import {
  anyKernel,
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { takeColumnsBackward } from "./take_columns_backward.ts";

type Buffers = "x" | "y";
type Uniforms = "rows" | "dim" | "stride" | "at";

const uniforms = { rows: "u32", dim: "u32", stride: "u32", at: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  y[i] = x[i / uniforms.dim * uniforms.stride + uniforms.at + i % uniforms.dim];
}
`;

/** Some columns of a table as one of their own. */
export const takeColumns: Kernel<Buffers, Uniforms> = defineKernel({
  name: "take_columns",
  doc: "y[r, c] = x[r, at + c]",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, stride), row-major" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "x", access: "read" }, { name: "y", access: "read_write" }],
      grid: grid(Math.ceil(rows * dim / 256), limits),
    }],
  }),
  reference({ x, y }, { rows, dim, stride, at }) {
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < dim; c++) y[r * dim + c] = x[r * stride + at + c];
    }
  },
  // Other steps take other columns of x: its gradient is added to.
  backward: (uniforms) => ({
    steps: [{
      kernel: anyKernel(takeColumnsBackward),
      values: {},
      gradients: { dy: "y" },
      targets: { dx: { of: "x", mode: "add" } },
      uniforms,
    }],
    overwritten: ["y"],
  }),
  tolerance: 0,
});

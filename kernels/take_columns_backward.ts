import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "dy" | "dx";
type Uniforms = "rows" | "dim" | "stride" | "at";

const uniforms = { rows: "u32", dim: "u32", stride: "u32", at: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  dx[i / uniforms.dim * uniforms.stride + uniforms.at + i % uniforms.dim] += dy[i];
}
`;

/** The gradient of `take_columns` by its input. */
export const takeColumnsBackward: Kernel<Buffers, Uniforms> = defineKernel({
  name: "take_columns_backward",
  doc: "dx[r, at + c] += dy[r, c]; other columns of dx stay",
  buffers: {
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    dx: { access: "read_write", dtypes: ["float32"], doc: "(rows, stride), row-major, added to" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "dy", access: "read" }, { name: "dx", access: "read_write" }],
      grid: grid(Math.ceil(rows * dim / 256), limits),
    }],
  }),
  reference({ dy, dx }, { rows, dim, stride, at }) {
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < dim; c++) dx[r * stride + at + c] += dy[r * dim + c];
    }
  },
  tolerance: 1e-6,
});

import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "dy" | "dx";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", dim: "u32", copies: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  let row = i / uniforms.dim;
  let column = i % uniforms.dim;
  let width = uniforms.copies * uniforms.dim;
  var sum = 0.0;
  for (var c = 0u; c < uniforms.copies; c++) {
    sum += dy[(c * uniforms.rows + row) * width + c * uniforms.dim + column];
  }
  dx[i] += sum;
}
`;

/** The gradient of `block_diagonal`. */
export const blockDiagonalBackward: Kernel<Buffers, Uniforms> = defineKernel({
  name: "block_diagonal_backward",
  doc: "dx[r, i] += sum over c of dy[c rows + r, c dim + i]",
  buffers: {
    dy: { access: "read", dtypes: ["float32"], doc: "(copies rows, copies dim), row-major" },
    dx: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major, added to" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "dy", access: "read" }, { name: "dx", access: "read_write" }],
      grid: grid(Math.ceil(rows * dim / 256), limits),
    }],
  }),
  reference({ dy, dx }, { rows, dim, copies }) {
    for (let r = 0; r < rows; r++) {
      for (let i = 0; i < dim; i++) {
        let sum = 0;
        for (let c = 0; c < copies; c++) sum += dy[(c * rows + r) * copies * dim + c * dim + i];
        dx[r * dim + i] += sum;
      }
    }
  },
  tolerance: 1e-6,
});

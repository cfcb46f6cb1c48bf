import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", dim: "u32", copies: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  let width = uniforms.copies * uniforms.dim;
  if (i >= uniforms.copies * uniforms.rows * width) { return; }
  let row = i / width;
  let column = i % width;
  let at = row % uniforms.rows * uniforms.dim + column % uniforms.dim;
  y[i] = select(0.0, x[at], row / uniforms.rows == column / uniforms.dim);
}
`;

/** Copies of one matrix along a diagonal: ETHER's vectors in each chunk of a row of W. */
export const blockDiagonal: Kernel<Buffers, Uniforms> = defineKernel({
  name: "block_diagonal",
  doc: "y[c rows + r, c dim + i] = x[r, i] for each of `copies` c, and 0 elsewhere",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(copies rows, copies dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim, copies } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "x", access: "read" }, { name: "y", access: "read_write" }],
      grid: grid(Math.ceil(copies * rows * copies * dim / 256), limits),
    }],
  }),
  reference({ x, y }, { rows, dim, copies }) {
    y.fill(0, 0, copies * rows * copies * dim);
    for (let c = 0; c < copies; c++) {
      for (let r = 0; r < rows; r++) {
        const begin = (c * rows + r) * copies * dim + c * dim;
        for (let i = 0; i < dim; i++) y[begin + i] = x[r * dim + i];
      }
    }
  },
  tolerance: 0,
});

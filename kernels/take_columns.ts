import {
  anyKernel,
  type Case,
  defineKernel,
  grid,
  type Kernel,
  nans,
  normals,
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

function sized(words: Readonly<Record<Uniforms, number>>): Case<Buffers, Uniforms> {
  const { rows, dim, stride, at } = words;
  return {
    name: `${rows} rows, ${dim} of ${stride} columns from ${at}`,
    uniforms: words,
    make: (random) => ({ x: normals(rows * stride, random), y: nans(rows * dim) }),
  };
}

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
  cases: [
    sized({ rows: 1, dim: 1, stride: 1, at: 0 }),
    sized({ rows: 3, dim: 7, stride: 11, at: 4 }),
    sized({ rows: 5, dim: 64, stride: 192, at: 64 }),
    sized({ rows: 2, dim: 257, stride: 300, at: 0 }),
  ],
  benches: [{ ...sized({ rows: 256, dim: 4096, stride: 12288, at: 4096 }), bytes: 2 * 256 * 4096 * 4 }],
});

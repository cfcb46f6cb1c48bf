import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "ids" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", dim: "u32", entries: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  let id = ids[i / uniforms.dim];
  if (id < uniforms.entries) { y[id * uniforms.dim + i % uniforms.dim] += x[i]; }
}
`;

/** The gradient of rows that were taken from a table: that of `embedding` by its weight, where each row was taken once. */
export const scatterRows: Kernel<Buffers, Uniforms> = defineKernel({
  name: "scatter_rows",
  doc: "y[ids[r], :] += x[r, :]; an id of `entries` or more adds nothing, and no other id comes twice",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    ids: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(entries, dim), row-major, added to" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "x", access: "read" },
        { name: "ids", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows * dim / 256), limits),
    }],
  }),
  reference({ x, ids, y }, { rows, dim, entries }) {
    for (let r = 0; r < rows; r++) {
      if (ids[r] >= entries) continue;
      for (let i = 0; i < dim; i++) y[ids[r] * dim + i] += x[r * dim + i];
    }
  },
  tolerance: 1e-6,
});

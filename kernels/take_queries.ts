import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "y";
type Uniforms = "rows" | "heads" | "headDim" | "behind";

const uniforms = { rows: "u32", heads: "u32", headDim: "u32", behind: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  let queries = uniforms.heads * uniforms.headDim;
  let dim = queries + uniforms.behind;
  let row = i / dim;
  if (row >= uniforms.rows) { return; }
  let column = i % dim;
  // A head's gate stands behind its query.
  let gates = min(column / uniforms.headDim, uniforms.heads) * uniforms.headDim;
  y[i] = x[row * (dim + queries) + column + gates];
}
`;

/** Queries without the gates that stand beside them. */
export const takeQueries: Kernel<Buffers, Uniforms> = defineKernel({
  name: "take_queries",
  doc:
    "y[r] = x[r] without the second half of each head: of 2 headDim columns a head, the first headDim; then the columns " +
    "behind all heads",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, 2 heads headDim + behind), row-major" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, heads headDim + behind), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, heads, headDim, behind } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "x", access: "read" }, { name: "y", access: "read_write" }],
      grid: grid(Math.ceil(rows * (heads * headDim + behind) / 256), limits),
    }],
  }),
  reference({ x, y }, { rows, heads, headDim, behind }) {
    const queries = heads * headDim, dim = queries + behind;
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < dim; c++) {
        const gates = Math.min(Math.floor(c / headDim), heads) * headDim;
        y[r * dim + c] = x[r * (dim + queries) + c + gates];
      }
    }
  },
  tolerance: 0,
});

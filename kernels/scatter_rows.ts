import {
  type Case,
  defineKernel,
  grid,
  type Kernel,
  normals,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "index" | "y";
type Uniforms = "rows" | "dim" | "yRows";

const uniforms = { rows: "u32", dim: "u32", yRows: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  let target_row = index[i / uniforms.dim];
  if (target_row < uniforms.yRows) { y[target_row * uniforms.dim + i % uniforms.dim] = x[i]; }
}
`;

/** The rows go to different places, in reverse; `skipped` of them point past the end. */
function sized(rows: number, dim: number, yRows: number, skipped = 0): Case<Buffers, Uniforms> {
  return {
    name: `${rows} rows of ${dim} into ${yRows}, ${skipped} skipped`,
    uniforms: { rows, dim, yRows },
    make: (random) => ({
      x: normals(rows * dim, random),
      index: Uint32Array.from(
        { length: rows },
        (_, r) => r < skipped ? yRows + r : r === skipped ? 0 : yRows - r,
      ),
      y: normals(yRows * dim, random),
    }),
  };
}

/** Writes rows to given places: keys and values into a cache. */
export const scatterRows: Kernel<Buffers, Uniforms> = defineKernel({
  name: "scatter_rows",
  doc: "y[index[r], :] = x[r, :]; an index of yRows or more is skipped, other rows of y stay. " +
    "When two rows name one place, either may win.",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    index: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(yRows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "x", access: "read" },
        { name: "index", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows * dim / 256), limits),
    }],
  }),
  reference({ x, index, y }, { rows, dim, yRows }) {
    for (let r = 0; r < rows; r++) {
      if (index[r] >= yRows) continue;
      for (let c = 0; c < dim; c++) y[index[r] * dim + c] = x[r * dim + c];
    }
  },
  wasm: ({ rows, dim, yRows }) => ({
    function: "scatter_rows",
    args: ["x", dim, "index", "y", rows, dim, yRows],
  }),
  tolerance: 0,
  cases: [sized(1, 1, 1), sized(3, 256, 7), sized(5, 51, 11, 2), sized(2, 257, 4, 1)],
  benches: [{ ...sized(256, 1024, 4096), bytes: 2 * 256 * 1024 * 4 }],
});

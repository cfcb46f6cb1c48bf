import { loader, storageType } from "./half.ts";
import { defineKernel, type DType, type Kernel, type Limits, uniformStruct } from "./kernel.ts";

type Buffers = "x" | "t" | "y";
type Uniforms = "rows" | "cols";

const uniforms = { rows: "u32", cols: "u32" } as const;

/** Rows and columns of what a workgroup turns: both matrices are read, and y written, along their rows. */
const tile = 32;

const wgsl = (dtype: DType): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<${storageType(dtype)}>;
@group(0) @binding(2) var<storage, read> t: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
${loader("x", dtype)}
// Rows are one longer than the tile, so that a column of it lies in all banks.
var<workgroup> turned: array<f32, ${tile * (tile + 1)}>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let along = local % ${tile};
  let row = group.y * ${tile};
  let col = group.x * ${tile};
  for (var i = local / ${tile}; i < ${tile}; i += ${256 / tile}) {
    if (col + i < uniforms.cols && row + along < uniforms.rows) {
      turned[i * ${tile + 1} + along] = t[(col + i) * uniforms.rows + row + along];
    }
  }
  workgroupBarrier();
  for (var i = local / ${tile}; i < ${tile}; i += ${256 / tile}) {
    if (row + i < uniforms.rows && col + along < uniforms.cols) {
      let at = (row + i) * uniforms.cols + col + along;
      y[at] = x_at(at) + turned[along * ${tile + 1} + i];
    }
  }
}
`;

function tiles(sizes: Readonly<Record<Uniforms, number>>, limits: Limits): [number, number, number] {
  const grid: [number, number, number] = [Math.ceil(sizes.cols / tile), Math.ceil(sizes.rows / tile), 1];
  if (Math.max(...grid) > limits.workgroupsPerDimension) {
    throw new RangeError(
      `Cannot add a transposed matrix of ${sizes.rows} x ${sizes.cols}: the device allows ` +
        `${tile * limits.workgroupsPerDimension} either way`,
    );
  }
  return grid;
}

/** A weight with a dW that was made input by input: merged for a step. */
export const addTransposed: Kernel<Buffers, Uniforms> = defineKernel({
  name: "add_transposed",
  doc: "y[r, c] = x[r, c] + t[c, r]",
  buffers: {
    x: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(rows, cols), row-major" },
    t: { access: "read", dtypes: ["float32"], doc: "(cols, rows), row-major" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, cols), row-major" },
  },
  uniforms,
  launch: ({ uniforms: sizes, dtypes }, limits) => ({
    dispatches: [{
      wgsl: wgsl(dtypes.x),
      bindings: [
        { name: "x", access: "read" },
        { name: "t", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: tiles(sizes, limits),
    }],
  }),
  reference({ x, t, y }, { rows, cols }) {
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < cols; c++) y[r * cols + c] = x[r * cols + c] + t[c * rows + r];
    }
  },
  wasm: ({ rows, cols }) => ({
    function: "add_transposed",
    args: ["x", "t", "y", rows, cols],
    items: Math.ceil(cols / 32),
    work: 8 * rows * cols,
  }),
  tolerance: 1e-7,
});

import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "dy" | "ids" | "gradient";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", dim: "u32", first: "u32", entries: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;
var<workgroup> seen: array<u32, 256>;

// One workgroup a row: the first row of an id adds up all rows of that id, in order. No other workgroup writes its entry.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let group_row = ${workgroupIndex};
  let row = min(group_row, uniforms.rows - 1);
  let id = ids[row];
  var before = 0u;
  for (var r = local; r < row; r += 256) { before |= u32(ids[r] == id); }
  seen[local] = before;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) { seen[local] |= seen[local + half]; }
    workgroupBarrier();
  }
  let entry = id - uniforms.first;
  if (group_row >= uniforms.rows || seen[0] != 0 || id < uniforms.first || entry >= uniforms.entries) { return; }
  for (var i = local; i < uniforms.dim; i += 256) {
    var sum = 0.0;
    for (var r = row; r < uniforms.rows; r++) {
      if (ids[r] == id) { sum += dy[r * uniforms.dim + i]; }
    }
    gradient[entry * uniforms.dim + i] += sum;
  }
}
`;

/** The gradient of an embedding's table, where the table is trained. */
export const embeddingGradient: Kernel<Buffers, Uniforms> = defineKernel({
  name: "embedding_gradient",
  doc:
    "gradient[e, :] += the sum of dy[r, :] over rows with ids[r] = first + e, in the rows' order: the gradient of W in " +
    "y[r, :] = W[ids[r] - first, :]; ids of no entry add nothing",
  buffers: {
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    ids: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    gradient: { access: "read_write", dtypes: ["float32"], doc: "(entries, dim), row-major, added to" },
  },
  uniforms,
  launch: ({ uniforms: { rows } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "dy", access: "read" },
        { name: "ids", access: "read" },
        { name: "gradient", access: "read_write" },
      ],
      grid: grid(rows, limits),
    }],
  }),
  reference({ dy, ids, gradient }, { rows, dim, first, entries }) {
    const sums = new Map<number, Float64Array>();
    for (let r = 0; r < rows; r++) {
      const entry = ids[r] - first;
      if (entry < 0 || entry >= entries) continue;
      const sum = sums.get(entry) ?? new Float64Array(dim);
      sums.set(entry, sum);
      for (let i = 0; i < dim; i++) sum[i] += dy[r * dim + i];
    }
    for (const [entry, sum] of sums) {
      for (let i = 0; i < dim; i++) gradient[entry * dim + i] += sum[i];
    }
  },
  tolerance: 1e-5,
});

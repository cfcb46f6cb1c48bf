import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "values" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", dim: "u32", offset: "u32", norm: "f32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> sums: array<f32, 128>;

// One workgroup a row.
@compute @workgroup_size(128)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let begin = row * uniforms.dim;
  var sum = 0.0;
  for (var i = local; i < uniforms.dim; i += 128) {
    let value = values[uniforms.offset + begin + i];
    sum += value * value;
  }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 64u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  let factor = uniforms.norm / sqrt(sums[0]);
  for (var i = local; i < uniforms.dim; i += 128) {
    y[begin + i] = factor * values[uniforms.offset + begin + i];
  }
}
`;

/** Rows of one length: ETHER's vectors while they are trained. */
export const unitRows: Kernel<Buffers, Uniforms> = defineKernel({
  name: "unit_rows",
  doc: "y[r] = norm values[r] / |values[r]|; a row of zeros gives NaN",
  buffers: {
    values: { access: "read", dtypes: ["float32"], doc: "from element `offset` on: (rows, dim), row-major" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "values", access: "read" }, { name: "y", access: "read_write" }],
      grid: grid(rows, limits),
    }],
  }),
  reference({ values, y }, { rows, dim, offset, norm }) {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let i = r * dim; i < (r + 1) * dim; i++) sum += values[offset + i] ** 2;
      for (let i = r * dim; i < (r + 1) * dim; i++) y[i] = norm * values[offset + i] / Math.sqrt(sum);
    }
  },
  tolerance: 1e-6,
});

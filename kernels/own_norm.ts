import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { ownDocs, ownRecord, ownRows, ownWords } from "./own.ts";

type Buffers = "x" | "slots" | "records" | "values" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = { ...ownWords, dim: "u32", centred: "u32", eps: "f32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> values: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
${ownRecord}
var<workgroup> sums: array<f32, 256>;

fn total(local: u32, part: f32) -> f32 {
  workgroupBarrier();
  sums[local] = part;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  return sums[0];
}

// One workgroup a row. Rows that stay as they are go through the barriers all the same: control flow must be uniform.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let group_row = ${workgroupIndex};
  let row = min(group_row, uniforms.rows - 1);
  let record = record_of(row);
  let begin = row * uniforms.dim;
  var sum = 0.0;
  for (var i = local; i < uniforms.dim; i += 256) { sum += x[begin + i]; }
  let mean = select(0.0, total(local, sum) / f32(uniforms.dim), uniforms.centred != 0);
  var squares = 0.0;
  for (var i = local; i < uniforms.dim; i += 256) {
    let value = x[begin + i] - mean;
    squares += value * value;
  }
  let all = total(local, squares);
  if (group_row >= uniforms.rows || record.z == 0) { return; }
  var factor = inverseSqrt(all / f32(uniforms.dim) + uniforms.eps);
  // By bits: compilers may take it that no float is infinite.
  if (bitcast<u32>(all) >= 0x7f800000u) { factor = bitcast<f32>(bitcast<u32>(all) | 0x7fc00000u); }
  for (var i = local; i < uniforms.dim; i += 256) {
    y[begin + i] += (x[begin + i] - mean) * factor * values[record.y + i];
  }
}
`;

/** What a norm's weight of each row's own adapter changes: the weights are differences from the model's. */
export const ownNorm: Kernel<Buffers, Uniforms> = defineKernel({
  name: "own_norm",
  doc:
    "y[r, i] += (x[r, i] - m) / sqrt(mean over j of (x[r, j] - m)^2 + eps) * the vector of adapter slots[r] for a parameter; " +
    "m is the mean of x[r, :] where `centred` is 1, else 0. Rows without an adapter, and those whose record's count is " +
    "0, stay as they are",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    slots: { access: "read", dtypes: ["uint32"], doc: ownDocs.slots },
    records: { access: "read", dtypes: ["uint32"], doc: ownDocs.records },
    values: { access: "read", dtypes: ["float32"], doc: "at a record's offset: (dim)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major, in place" },
  },
  uniforms,
  launch: ({ uniforms: { rows } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "x", access: "read" },
        { name: "slots", access: "read" },
        { name: "records", access: "read" },
        { name: "values", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(rows, limits),
    }],
  }),
  reference({ x, values, y, ...found }, { dim, centred, eps, ...words }) {
    for (const { row, first } of ownRows(found, words)) {
      const begin = row * dim;
      let sum = 0, squares = 0;
      for (let i = 0; i < dim; i++) sum += x[begin + i];
      const mean = centred ? sum / dim : 0;
      for (let i = 0; i < dim; i++) squares += (x[begin + i] - mean) ** 2;
      const factor = Number.isFinite(Math.fround(squares)) ? 1 / Math.sqrt(squares / dim + eps) : NaN;
      for (let i = 0; i < dim; i++) y[begin + i] += (x[begin + i] - mean) * factor * values[first + i];
    }
  },
  tolerance: 1e-5,
});

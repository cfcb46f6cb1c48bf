import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { ownDocs, ownRecord, ownRows, ownWords } from "./own.ts";

type Buffers = "x" | "slots" | "records" | "tables" | "values" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = { ...ownWords, in: "u32", out: "u32", most: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read> values: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
${ownRecord}
var<workgroup> sums: array<f32, 64>;

// One workgroup an output of a row.
@compute @workgroup_size(64)
fn main(${workgroupBuiltins}) {
  let group_at = ${workgroupIndex};
  let at = min(group_at, uniforms.rows * uniforms.most - 1);
  let row = at / uniforms.most;
  let k = at % uniforms.most;
  let record = record_of(row);
  let is_own = group_at == at && k < record.z;
  var sum = 0.0;
  if (is_own) {
    let begin = record.y + k * uniforms.in;
    for (var i = local; i < uniforms.in; i += 64) { sum += x[row * uniforms.in + i] * values[begin + i]; }
  }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  if (!is_own || local > 0) { return; }
  let output = tables[record.x + k];
  if (output < uniforms.out) { y[row * uniforms.out + output] = sums[0]; }
}
`;

/** Outputs of a linear whose rows of the weight each row's own adapter has in the place of the model's. */
export const ownOutputs: Kernel<Buffers, Uniforms> = defineKernel({
  name: "own_outputs",
  doc:
    "y[r, o] = the dot product of x[r, :] with the row that adapter slots[r] has for output o; outputs that the adapter has " +
    "no row for, and rows without an adapter, stay as they are",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    slots: { access: "read", dtypes: ["uint32"], doc: ownDocs.slots },
    records: {
      access: "read",
      dtypes: ["uint32"],
      doc: `${ownDocs.records}; no count is above \`most\``,
    },
    tables: { access: "read", dtypes: ["uint32"], doc: "at a record's first word: its outputs (count)" },
    values: { access: "read", dtypes: ["float32"], doc: "at a record's offset: (count, in)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, most } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "x", access: "read" },
        { name: "slots", access: "read" },
        { name: "records", access: "read" },
        { name: "tables", access: "read" },
        { name: "values", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(rows * most, limits),
    }],
  }),
  reference({ x, tables, values, y, ...found }, { in: inSize, out, most: _, ...words }) {
    for (const { row, table, first, count } of ownRows(found, words)) {
      for (let k = 0; k < count; k++) {
        const output = tables[table + k];
        if (output >= out) continue;
        let sum = 0;
        for (let i = 0; i < inSize; i++) sum += x[row * inSize + i] * values[first + k * inSize + i];
        y[row * out + output] = sum;
      }
    }
  },
  tolerance: 1e-5,
});

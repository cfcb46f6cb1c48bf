import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { ownDocs, ownRecord, ownRows, ownWords, placeOfId } from "./own.ts";

type Buffers = "ids" | "slots" | "records" | "tables" | "values" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = { ...ownWords, dim: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read> values: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
${ownRecord}
${placeOfId}
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  let row = i / uniforms.dim;
  let record = record_of(row);
  if (record.z == 0) { return; }
  let place = place_of_id(ids[row], record);
  if (place < record.z) { y[i] = values[record.y + place * uniforms.dim + i % uniforms.dim]; }
}
`;

/** Rows of a table that each row's own adapter has in the place of the model's. */
export const ownEmbedding: Kernel<Buffers, Uniforms> = defineKernel({
  name: "own_embedding",
  doc:
    "y[r, :] = the row that adapter slots[r] has for ids[r]; rows whose adapter has none for their id, and rows without an " +
    "adapter, stay as they are",
  buffers: {
    ids: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    slots: { access: "read", dtypes: ["uint32"], doc: ownDocs.slots },
    records: { access: "read", dtypes: ["uint32"], doc: ownDocs.records },
    tables: {
      access: "read",
      dtypes: ["uint32"],
      doc: "at a record's first word: its ids (count), ascending",
    },
    values: { access: "read", dtypes: ["float32"], doc: "at a record's offset: (count, dim)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "ids", access: "read" },
        { name: "slots", access: "read" },
        { name: "records", access: "read" },
        { name: "tables", access: "read" },
        { name: "values", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows * dim / 256), limits),
    }],
  }),
  reference({ ids, tables, values, y, ...found }, { dim, ...words }) {
    for (const { row, table, first, count } of ownRows(found, words)) {
      const place = tables.subarray(table, table + count).indexOf(ids[row]);
      if (place < 0) continue;
      for (let i = 0; i < dim; i++) y[row * dim + i] = values[first + place * dim + i];
    }
  },
  tolerance: 0,
});

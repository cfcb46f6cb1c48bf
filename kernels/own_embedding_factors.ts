import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { ownDocs, ownRecord, ownRows, ownWords } from "./own.ts";

type Buffers = "ids" | "slots" | "records" | "values" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = { ...ownWords, dim: "u32", vocab: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> values: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
${ownRecord}
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  let row = i / uniforms.dim;
  let record = record_of(row);
  let id = ids[row];
  if (record.z == 0 || id >= uniforms.vocab) { return; }
  let a = record.y + id * record.z;
  let b = record.y + (uniforms.vocab + i % uniforms.dim) * record.z;
  var sum = 0.0;
  for (var k = 0u; k < record.z; k++) { sum += values[a + k] * values[b + k]; }
  y[i] += bitcast<f32>(record.w) * sum;
}
`;

/** A low-rank change of a table, of each row's own adapter: LoRA on an embedding. */
export const ownEmbeddingFactors: Kernel<Buffers, Uniforms> = defineKernel({
  name: "own_embedding_factors",
  doc:
    "y[r, i] += scale * sum over k of A[ids[r], k] B[i, k], with the A, B and scale of adapter slots[r]; an id of vocab or " +
    "more adds nothing",
  buffers: {
    ids: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    slots: { access: "read", dtypes: ["uint32"], doc: ownDocs.slots },
    records: {
      access: "read",
      dtypes: ["uint32"],
      doc: `${ownDocs.records}; the count is the rank`,
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "at a record's offset: A (vocab, rank), then B (dim, rank)",
    },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major, in place" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "ids", access: "read" },
        { name: "slots", access: "read" },
        { name: "records", access: "read" },
        { name: "values", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows * dim / 256), limits),
    }],
  }),
  reference({ ids, values, y, ...found }, { dim, vocab, ...words }) {
    for (const { row, first, count, scale } of ownRows(found, words)) {
      if (ids[row] >= vocab) continue;
      const a = first + ids[row] * count;
      for (let i = 0; i < dim; i++) {
        const b = first + (vocab + i) * count;
        let sum = 0;
        for (let k = 0; k < count; k++) sum += values[a + k] * values[b + k];
        y[row * dim + i] += scale * sum;
      }
    }
  },
  tolerance: 1e-5,
});

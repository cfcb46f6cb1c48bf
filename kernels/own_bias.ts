import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { ownDocs, ownRecord, ownRows, ownWords } from "./own.ts";

type Buffers = "slots" | "records" | "values" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = { ...ownWords, out: "u32", stride: "u32", column: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> slots: array<u32>;
@group(0) @binding(2) var<storage, read> records: array<vec4u>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
${ownRecord}
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.out) { return; }
  let row = i / uniforms.out;
  let record = record_of(row);
  if (record.z == 0) { return; }
  let o = i % uniforms.out;
  y[row * uniforms.stride + uniforms.column + o] += values[record.y + o];
}
`;

/** A vector added to each row, of the row's own adapter: the difference between its bias and the model's. */
export const ownBias: Kernel<Buffers, Uniforms> = defineKernel({
  name: "own_bias",
  doc:
    "y[r, column + o] += the vector of adapter slots[r] for a parameter; rows without an adapter, and those whose " +
    "record's count is 0, stay as they are",
  buffers: {
    slots: { access: "read", dtypes: ["uint32"], doc: ownDocs.slots },
    records: { access: "read", dtypes: ["uint32"], doc: ownDocs.records },
    values: { access: "read", dtypes: ["float32"], doc: "at a record's offset: (out)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, stride), row-major, in place" },
  },
  uniforms,
  launch: ({ uniforms: { rows, out } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "slots", access: "read" },
        { name: "records", access: "read" },
        { name: "values", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows * out / 256), limits),
    }],
  }),
  reference({ values, y, ...found }, { out, stride, column, ...words }) {
    for (const { row, first } of ownRows(found, words)) {
      for (let o = 0; o < out; o++) y[row * stride + column + o] += values[first + o];
    }
  },
  tolerance: 1e-6,
});

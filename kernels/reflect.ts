import {
  type Arrays,
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { recordWords } from "./record.ts";

type Buffers = "slots" | "records" | "values" | "x";
type Uniforms = keyof typeof uniforms;
type Words = Readonly<Record<Uniforms, number>>;

const uniforms = { rows: "u32", in: "u32", linear: "u32", capacity: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> slots: array<u32>;
@group(0) @binding(2) var<storage, read> records: array<vec4u>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;

var<workgroup> sums: array<f32, 256>;

// One workgroup a row. An invocation reads and writes the same elements of x all along.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return; }
  let record = records[uniforms.linear * uniforms.capacity + slot];
  let begin = row * uniforms.in;
  for (var vector = 0u; vector < record.z; vector++) {
    let u = record.y + vector * uniforms.in;
    var sum = 0.0;
    for (var i = local; i < uniforms.in; i += 256) { sum += values[u + i] * x[begin + i]; }
    sums[local] = sum;
    workgroupBarrier();
    for (var half = 128u; half > 0; half >>= 1) {
      if (local < half) { sums[local] += sums[local + half]; }
      workgroupBarrier();
    }
    let twice = 2 * sums[0];
    workgroupBarrier();
    for (var i = local; i < uniforms.in; i += 256) { x[begin + i] -= twice * values[u + i]; }
  }
}
`;

function reflected({ slots, records, values, x }: Arrays<Buffers>, words: Words): void {
  const { rows, in: inSize, linear, capacity } = words;
  const row = new Float64Array(inSize);
  for (let r = 0; r < rows; r++) {
    if (slots[r] >= capacity) continue;
    const record = recordWords * (linear * capacity + slots[r]), first = records[record + 1];
    row.set(x.subarray(r * inSize, (r + 1) * inSize));
    for (let vector = 0; vector < records[record + 2]; vector++) {
      const u = first + vector * inSize;
      let dot = 0;
      for (let i = 0; i < inSize; i++) dot += values[u + i] * row[i];
      for (let i = 0; i < inSize; i++) row[i] -= 2 * dot * values[u + i];
    }
    x.set(row, r * inSize);
  }
}

/** Householder reflections of each row, one after the other, by its own adapter's vectors: what HRA does to x. */
export const reflect: Kernel<Buffers, Uniforms> = defineKernel({
  name: "reflect",
  doc:
    "x[r] -= 2 u (u . x[r]) for each vector u of adapter slots[r], in their order; rows without an adapter, and those " +
    "whose record's count is 0, stay as they are",
  buffers: {
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows); capacity or more: no adapter" },
    records: {
      access: "read",
      dtypes: ["uint32"],
      doc: "(linears, capacity, 4): see record.ts; the count is that of vectors",
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "at a record's offset: u (count, in), of length 1 each",
    },
    x: { access: "read_write", dtypes: ["float32"], doc: "(rows, in), row-major, in place" },
  },
  uniforms,
  launch: ({ uniforms: { rows } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "slots", access: "read" },
        { name: "records", access: "read" },
        { name: "values", access: "read" },
        { name: "x", access: "read_write" },
      ],
      grid: grid(rows, limits),
    }],
  }),
  reference: reflected,
  tolerance: 2e-6,
});

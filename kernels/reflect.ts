import {
  type Arrays,
  type Case,
  defineKernel,
  grid,
  type Kernel,
  normals,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { recordWords } from "./record.ts";

type Buffers = "slots" | "records" | "values" | "x";
type Uniforms = keyof typeof uniforms;
type Words = Readonly<Record<Uniforms, number>>;

const uniforms = { rows: "u32", in: "u32", layer: "u32", capacity: "u32" } as const;

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
  let record = records[uniforms.layer * uniforms.capacity + slot];
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
  const { rows, in: inSize, layer, capacity } = words;
  const row = new Float64Array(inSize);
  for (let r = 0; r < rows; r++) {
    if (slots[r] >= capacity) continue;
    const record = recordWords * (layer * capacity + slots[r]), first = records[record + 1];
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

/** As many adapters as `counts`, of so many vectors each, of the second of two linears. */
function sized(
  { in: inSize, counts, slots }: {
    readonly in: number;
    readonly counts: readonly number[];
    readonly slots: readonly number[];
  },
): Case<Buffers, Uniforms> {
  const capacity = counts.length, layer = 1;
  return {
    name: `${slots.length} x ${inSize}, vectors ${counts}`,
    uniforms: { rows: slots.length, in: inSize, layer, capacity },
    make(random) {
      const records = new Uint32Array(2 * capacity * recordWords).fill(9);
      let size = 3;
      counts.forEach((count, slot) => {
        records.set([7, size, count, 7], recordWords * (layer * capacity + slot));
        size += count * inSize;
      });
      return {
        slots: Uint32Array.from(slots),
        records,
        // Of about length 1.
        values: normals(size, random, 1 / Math.sqrt(inSize)),
        x: normals(slots.length * inSize, random),
      };
    },
  };
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
  cases: [
    sized({ in: 1, counts: [1], slots: [0] }),
    sized({ in: 37, counts: [3, 0, 8], slots: [2, 0, 0xffffffff, 1, 3, 0] }),
    sized({ in: 256, counts: [2], slots: [0, 0] }),
    sized({ in: 1031, counts: [1, 6], slots: [1, 0xffffffff, 0] }),
  ],
  benches: [],
});

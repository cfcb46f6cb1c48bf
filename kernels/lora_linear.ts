import {
  type Case,
  defineKernel,
  grid,
  type Kernel,
  normals,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { product } from "./linear/cpu.ts";
import { bitsOf, floatOf, recordWords } from "./record.ts";

type Buffers = "x" | "slots" | "records" | "values" | "y";
type Uniforms = "rows" | "in" | "out" | "layer" | "capacity";

const uniforms = { rows: "u32", in: "u32", out: "u32", layer: "u32", capacity: "u32" } as const;

/** Outputs of one workgroup; the work of A x is repeated for each. */
const chunk = 256;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> values: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

var<workgroup> sums: array<f32, 256>;

// One workgroup for ${chunk} outputs of a row. A x is made 32 ranks at a time: each rank's dot product by 'lanes'
// threads, as many as there are for the ranks of this round.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let chunks = (uniforms.out + ${chunk - 1}) / ${chunk};
  let row = id / chunks;
  if (row >= uniforms.rows) { return; }
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return; }
  let record = records[uniforms.layer * uniforms.capacity + slot];
  let rank = record.z;
  if (rank == 0) { return; }
  let output = (id % chunks) * ${chunk} + local;
  let b = record.y + rank * uniforms.in + output * rank;
  var sum = 0.0;
  for (var begin = 0u; begin < rank; begin += 32) {
    let size = min(32u, rank - begin);
    let lanes = 256u >> (32 - countLeadingZeros(size - 1));
    let lane = local % lanes;
    let mine = local / lanes;
    var dot_part = 0.0;
    if (mine < size) {
      let a = record.y + (begin + mine) * uniforms.in;
      for (var i = lane; i < uniforms.in; i += lanes) { dot_part += values[a + i] * x[row * uniforms.in + i]; }
    }
    workgroupBarrier();
    sums[local] = dot_part;
    workgroupBarrier();
    for (var half = lanes / 2; half > 0; half >>= 1) {
      if (lane < half) { sums[local] += sums[local + half]; }
      workgroupBarrier();
    }
    if (output < uniforms.out) {
      for (var r = 0u; r < size; r++) { sum += sums[r * lanes] * values[b + begin + r]; }
    }
  }
  if (output < uniforms.out) { y[row * uniforms.out + output] += bitcast<f32>(record.w) * sum; }
}
`;

interface Adapter {
  readonly offset: number;
  readonly rank: number;
  readonly scale: number;
}

/** The adapter of a row in this layer; undefined where it adds nothing. */
function adapterOf(
  slot: number,
  records: Uint32Array,
  { layer, capacity }: Readonly<Record<Uniforms, number>>,
): Adapter | undefined {
  if (slot >= capacity) return undefined;
  const at = recordWords * (layer * capacity + slot);
  return { offset: records[at + 1], rank: records[at + 2], scale: floatOf(records[at + 3]) };
}

interface Sizes {
  readonly in: number;
  readonly out: number;
  readonly ranks: readonly number[];
  /** Slot of each row; capacity or more means none. */
  readonly slots: readonly number[];
}

/** Two layers, of which the second is asked for. */
function sized({ in: inSize, out, ranks, slots }: Sizes): Case<Buffers, Uniforms> {
  const rows = slots.length, capacity = ranks.length;
  return {
    name: `${rows} rows, ${inSize} to ${out}, ranks ${ranks}`,
    uniforms: { rows, in: inSize, out, layer: 1, capacity },
    make(random) {
      const records = new Uint32Array(2 * capacity * recordWords);
      let offset = 3;
      ranks.forEach((rank, slot) => {
        records.set([7, offset, rank, bitsOf(0.5 + slot)], recordWords * (capacity + slot));
        offset += rank * (inSize + out);
      });
      return {
        x: normals(rows * inSize, random),
        slots: Uint32Array.from(slots),
        records,
        values: normals(offset, random, 1 / Math.sqrt(inSize)),
        y: normals(rows * out, random),
      };
    },
  };
}

/** The low-rank update, each row with its own adapter. */
export const loraLinear: Kernel<Buffers, Uniforms> = defineKernel({
  name: "lora_linear",
  doc: "y[r] += scale B (A x[r]), with A, B and scale those of slot slots[r] for layer `layer`; a slot of " +
    "capacity or more (0xffffffff: none) and rank 0 add nothing",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    records: {
      access: "read",
      dtypes: ["uint32"],
      doc: "(layers, capacity, 4): a word not used here, offset into values, rank, bits of a float32 scale",
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "at a record's offset: A (rank, in), then B (out, rank), row-major",
    },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major, added to" },
  },
  uniforms,
  launch({ uniforms: { rows, out } }, limits) {
    return {
      dispatches: [{
        wgsl,
        bindings: [
          { name: "x", access: "read" },
          { name: "slots", access: "read" },
          { name: "records", access: "read" },
          { name: "values", access: "read" },
          { name: "y", access: "read_write" },
        ],
        grid: grid(rows * Math.ceil(out / chunk), limits),
      }],
    };
  },
  reference({ x, slots, records, values, y }, uniforms) {
    const { rows, in: inSize, out } = uniforms;
    for (let r = 0; r < rows; r++) {
      const adapter = adapterOf(slots[r], records as Uint32Array, uniforms);
      if (!adapter) continue;
      const { offset, rank, scale } = adapter;
      const hidden = Array.from({ length: rank }, (_, i) => {
        let sum = 0;
        for (let k = 0; k < inSize; k++) sum += values[offset + i * inSize + k] * x[r * inSize + k];
        return sum;
      });
      for (let o = 0; o < out; o++) {
        const b = offset + rank * inSize + o * rank;
        const sum = hidden.reduce((sum, h, i) => sum + h * values[b + i], 0);
        y[r * out + o] += scale * sum;
      }
    }
  },
  cpu({ x, slots, records, values, y }, uniforms) {
    const { rows, in: inSize, out } = uniforms;
    for (let r = 0; r < rows; r++) {
      const adapter = adapterOf(slots[r], records as Uint32Array, uniforms);
      if (!adapter?.rank) continue;
      const { offset, rank, scale } = adapter;
      const b = offset + rank * inSize;
      const hidden = new Float32Array(rank);
      const down = values.subarray(offset, b) as Float32Array;
      const up = values.subarray(b, b + out * rank) as Float32Array;
      const row = x.subarray(r * inSize, (r + 1) * inSize) as Float32Array;
      product(
        { x: row, weight: down, y: hidden },
        { rows: 1, inSize, outSize: rank, accumulate: false },
      );
      for (let i = 0; i < rank; i++) hidden[i] *= scale;
      product(
        { x: hidden, weight: up, y: y.subarray(r * out, (r + 1) * out) as Float32Array },
        { rows: 1, inSize: rank, outSize: out, accumulate: true },
      );
    }
  },
  wasm: ({ rows, in: inSize, out, layer, capacity }) => ({
    function: "lora_linear",
    args: [
      ...["x", inSize, "slots", "records", "values", "y", out, "hidden"],
      ...[rows, inSize, out, layer, capacity],
    ],
    scratch: { hidden: 256 },
  }),
  tolerance: 1e-5,
  cases: [
    sized({ in: 1, out: 1, ranks: [1], slots: [0] }),
    sized({ in: 31, out: 37, ranks: [3, 0, 8], slots: [2, 0, 1, 0xffffffff, 2, 3] }),
    sized({ in: 256, out: 257, ranks: [16, 33, 1], slots: [1, 0, 2] }),
    sized({ in: 67, out: 513, ranks: [512, 5], slots: [0, 1] }),
  ],
  benches: [{
    ...sized({
      in: 4096,
      out: 4096,
      ranks: Array(16).fill(16),
      slots: Array.from({ length: 16 }, (_, i) => i),
    }),
    bytes: 16 * (16 * 8192 + 3 * 4096) * 4,
    flops: 16 * 4 * 16 * 4096,
  }],
});

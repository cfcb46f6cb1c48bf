import {
  type Arrays,
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { product } from "./linear/cpu.ts";
import { floatOf, recordWords } from "./record.ts";

type Buffers = "x" | "slots" | "records" | "values" | "y";
type Uniforms = "rows" | "in" | "out0" | "out1" | "out2" | "linear" | "capacity";
type Words = Readonly<Record<Uniforms, number>>;

const uniforms = {
  rows: "u32",
  in: "u32",
  out0: "u32",
  out1: "u32",
  out2: "u32",
  linear: "u32",
  capacity: "u32",
} as const;

/** Outputs of one workgroup, all of one linear; the work of A x is repeated for each. */
const chunk = 256;

const chunksOf = (out: number): number => Math.ceil(out / chunk);

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> values: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

var<workgroup> sums: array<f32, 256>;

fn chunks_of(out: u32) -> u32 { return (out + ${chunk - 1}) / ${chunk}; }

// One workgroup for ${chunk} outputs of a row. A x is made 32 ranks at a time: each rank's dot product by 'lanes'
// threads, as many as there are for the ranks of this round.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let chunks = vec3u(chunks_of(uniforms.out0), chunks_of(uniforms.out1), chunks_of(uniforms.out2));
  let row = id / (chunks.x + chunks.y + chunks.z);
  if (row >= uniforms.rows) { return; }
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return; }
  var part = id % (chunks.x + chunks.y + chunks.z);
  var linear = uniforms.linear;
  var out = uniforms.out0;
  var y_at = row * (uniforms.out0 + uniforms.out1 + uniforms.out2);
  if (part >= chunks.x) {
    part -= chunks.x;
    linear += 1;
    y_at += out;
    out = uniforms.out1;
    if (part >= chunks.y) {
      part -= chunks.y;
      linear += 1;
      y_at += out;
      out = uniforms.out2;
    }
  }
  let record = records[linear * uniforms.capacity + slot];
  let rank = record.z;
  if (rank == 0) { return; }
  let output = part * ${chunk} + local;
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
    if (output < out) {
      for (var r = 0u; r < size; r++) { sum += sums[r * lanes] * values[b + begin + r]; }
    }
  }
  if (output < out) { y[y_at + output] += bitcast<f32>(record.w) * sum; }
}
`;

/** A row's adapter of one linear, and where its outputs are. */
interface Update {
  readonly row: number;
  readonly yAt: number;
  readonly out: number;
  readonly offset: number;
  readonly rank: number;
  readonly scale: number;
}

/** Calls `body` for every row and linear with an adapter of a rank above 0. */
function forEachUpdate(
  { slots, records }: Pick<Arrays<Buffers>, "slots" | "records">,
  { rows, out0, out1, out2, linear, capacity }: Words,
  body: (update: Update) => void,
): void {
  const outs = [out0, out1, out2];
  for (let row = 0; row < rows; row++) {
    if (slots[row] >= capacity) continue;
    let yAt = row * (out0 + out1 + out2);
    outs.forEach((out, i) => {
      const at = recordWords * ((linear + i) * capacity + slots[row]);
      const rank = records[at + 2];
      if (out > 0 && rank > 0) {
        body({ row, yAt, out, offset: records[at + 1], rank, scale: floatOf(records[at + 3]) });
      }
      yAt += out;
    });
  }
}

/** The low-rank update of up to three linears that share x, each row with its own adapter. */
export const loraLinear: Kernel<Buffers, Uniforms> = defineKernel({
  name: "lora_linear",
  doc:
    "y[r] += scale B (A x[r]) for each of the linears `linear`, `linear + 1` and `linear + 2` whose out is not 0, in " +
    "its columns of y, with A, B and scale those of slot slots[r]; a slot of capacity or more (0xffffffff: none) and " +
    "rank 0 add nothing",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    records: {
      access: "read",
      dtypes: ["uint32"],
      doc: "(linears, capacity, 4): a word not used here, offset into values, rank, bits of a float32 scale",
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "at a record's offset: A (rank, in), then B (out, rank), row-major",
    },
    y: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "(rows, out0 + out1 + out2), row-major, added to; out1 and out2 may be 0",
    },
  },
  uniforms,
  launch({ uniforms: { rows, out0, out1, out2 } }, limits) {
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
        grid: grid(rows * (chunksOf(out0) + chunksOf(out1) + chunksOf(out2)), limits),
      }],
    };
  },
  reference({ x, slots, records, values, y }, uniforms) {
    const { in: inSize } = uniforms;
    forEachUpdate({ slots, records }, uniforms, ({ row, yAt, out, offset, rank, scale }) => {
      const hidden = Array.from({ length: rank }, (_, i) => {
        let sum = 0;
        for (let k = 0; k < inSize; k++) sum += values[offset + i * inSize + k] * x[row * inSize + k];
        return sum;
      });
      for (let o = 0; o < out; o++) {
        const b = offset + rank * inSize + o * rank;
        const sum = hidden.reduce((sum, h, i) => sum + h * values[b + i], 0);
        y[yAt + o] += scale * sum;
      }
    });
  },
  cpu({ x, slots, records, values, y }, uniforms) {
    const { in: inSize } = uniforms;
    forEachUpdate({ slots, records }, uniforms, ({ row, yAt, out, offset, rank, scale }) => {
      const b = offset + rank * inSize;
      const hidden = new Float32Array(rank);
      const down = values.subarray(offset, b) as Float32Array;
      const up = values.subarray(b, b + out * rank) as Float32Array;
      product(
        { x: x.subarray(row * inSize, (row + 1) * inSize) as Float32Array, weight: down, y: hidden },
        { rows: 1, inSize, outSize: rank, accumulate: false },
      );
      for (let i = 0; i < rank; i++) hidden[i] *= scale;
      product(
        { x: hidden, weight: up, y: y.subarray(yAt, yAt + out) as Float32Array },
        { rows: 1, inSize: rank, outSize: out, accumulate: true },
      );
    });
  },
  wasm: ({ rows, in: inSize, out0, out1, out2, linear, capacity }) => ({
    function: "lora_linear",
    args: [
      ...["x", inSize, "slots", "records", "values", "y", out0 + out1 + out2, "hidden"],
      ...[rows, inSize, out0, out1, out2, linear, capacity],
    ],
    scratch: { hidden: 256 },
  }),
  tolerance: 1e-5,
});

import {
  type Arrays,
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { floatOf, recordWords } from "./record.ts";

type Buffers = "x" | "slots" | "records" | "tables" | "values" | "y";
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

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read> values: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

// One invocation for each output of a row.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  let width = uniforms.out0 + uniforms.out1 + uniforms.out2;
  let row = i / width;
  if (row >= uniforms.rows) { return; }
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return; }
  var o = i % width;
  var linear = uniforms.linear;
  var out = uniforms.out0;
  if (o >= out) {
    o -= out;
    linear += 1;
    out = uniforms.out1;
    if (o >= out) {
      o -= out;
      linear += 1;
      out = uniforms.out2;
    }
  }
  let record = records[linear * uniforms.capacity + slot];
  if (record.z == 0) { return; }
  let columns = record.x + out + 1;
  let end = tables[record.x + o + 1];
  var sum = 0.0;
  for (var e = tables[record.x + o]; e < end; e++) {
    sum += values[record.y + e] * x[row * uniforms.in + tables[columns + e]];
  }
  y[i] += bitcast<f32>(record.w) * sum;
}
`;

function added({ x, slots, records, tables, values, y }: Arrays<Buffers>, words: Words): void {
  const { rows, in: inSize, out0, out1, out2, linear, capacity } = words;
  for (let row = 0; row < rows; row++) {
    if (slots[row] >= capacity) continue;
    let yAt = row * (out0 + out1 + out2);
    [out0, out1, out2].forEach((out, i) => {
      const at = recordWords * ((linear + i) * capacity + slots[row]);
      const [table, offset, count] = records.subarray(at, at + 3), scale = floatOf(records[at + 3]);
      for (let o = 0; o < out && count > 0; o++) {
        let sum = 0;
        for (let e = tables[table + o]; e < tables[table + o + 1]; e++) {
          sum += values[offset + e] * x[row * inSize + tables[table + out + 1 + e]];
        }
        y[yAt + o] += scale * sum;
      }
      yAt += out;
    });
  }
}

/** The sparse update of up to three linears that share x, each row with its own adapter. */
export const sparseLinear: Kernel<Buffers, Uniforms> = defineKernel({
  name: "sparse_linear",
  doc:
    "y[r] += scale dW x[r] for each of the linears `linear`, `linear + 1` and `linear + 2` whose out is not 0, in its columns " +
    "of y, with the sparse dW and the scale of slot slots[r]; a slot of capacity or more (0xffffffff: none) and count 0 " +
    "add nothing",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    records: {
      access: "read",
      dtypes: ["uint32"],
      doc: "(linears, capacity, 4): offset into tables, offset into values, count, bits of a float32 scale",
    },
    tables: {
      access: "read",
      dtypes: ["uint32"],
      doc:
        "at a record's offset: where each output's numbers begin (out + 1), then the column of each number (count)",
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "at a record's offset: the numbers (count), by output",
    },
    y: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "(rows, out0 + out1 + out2), row-major, added to; out1 and out2 may be 0",
    },
  },
  uniforms,
  launch: ({ uniforms: { rows, out0, out1, out2 } }, limits) => ({
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
      grid: grid(Math.ceil(rows * (out0 + out1 + out2) / 256), limits),
    }],
  }),
  reference: added,
  wasm: ({ rows, in: inSize, out0, out1, out2, linear, capacity }) => ({
    function: "sparse_linear",
    args: [
      ...["x", "slots", "records", "tables", "values", "y", out0 + out1 + out2],
      ...[rows, inSize, out0, out1, out2, linear, capacity],
    ],
    items: out0 + out1 + out2,
    // Numbers are counted when it runs; SHiRA has 32 (in + out).
    work: 32 * rows * (inSize + out0 + out1 + out2),
  }),
  tolerance: 1e-5,
});

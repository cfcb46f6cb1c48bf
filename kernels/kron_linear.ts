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

/** Rows of the second factor that one workgroup takes. */
const tile = 8;
/** Pieces of x at a time: a thread for each of their products with a tile. */
const pieces = 256 / tile;

/** Workgroups of one linear: as many as the longest second factor needs, which has a row for each output. */
const tilesOf = (out: number): number => Math.ceil(out / tile);

/** Text for eight loads, which are under way at once: a thread alone would wait for each. */
const eight = (text: (i: number) => string): string =>
  Array.from({ length: 8 }, (_, i) => text(i)).join("\n        ");

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read> values: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

var<workgroup> sums: array<f32, 256>;

fn tiles_of(out: u32) -> u32 { return (out + ${tile - 1}) / ${tile}; }

// One workgroup for ${tile} rows of the second factor, whose dot products with up to ${pieces} pieces of x are made at a time: each
// by 'lanes' threads, as many as there are for the products of this round. Every output has one thread.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let tiles = vec3u(tiles_of(uniforms.out0), tiles_of(uniforms.out1), tiles_of(uniforms.out2));
  let row = id / (tiles.x + tiles.y + tiles.z);
  if (row >= uniforms.rows) { return; }
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return; }
  var part = id % (tiles.x + tiles.y + tiles.z);
  var linear = uniforms.linear;
  var out = uniforms.out0;
  var y_at = row * (uniforms.out0 + uniforms.out1 + uniforms.out2);
  if (part >= tiles.x) {
    part -= tiles.x;
    linear += 1;
    y_at += out;
    out = uniforms.out1;
    if (part >= tiles.y) {
      part -= tiles.y;
      linear += 1;
      y_at += out;
      out = uniforms.out2;
    }
  }
  let record = records[linear * uniforms.capacity + slot];
  if (record.z == 0) { return; }
  let left_out = tables[record.x];
  let left_in = tables[record.x + 1];
  let right_out = out / left_out;
  let right_in = uniforms.in / left_in;
  let first = part * ${tile};
  if (first >= right_out) { return; }
  let right = record.y + left_out * left_in;
  for (var begin = 0u; begin < left_in; begin += ${pieces}) {
    let size = min(${pieces}u, left_in - begin);
    let lanes = 256u >> (32 - countLeadingZeros(${tile} * size - 1));
    let lane = local % lanes;
    let mine = local / lanes;
    var dot_part = 0.0;
    if (mine < ${tile} * size && first + mine % ${tile} < right_out) {
      let w = right + (first + mine % ${tile}) * right_in;
      let piece = row * uniforms.in + (begin + mine / ${tile}) * right_in;
      var q = lane;
      for (; q + 7 * lanes < right_in; q += 8 * lanes) {
        ${eight((j) => `let w${j} = values[w + q + ${j} * lanes]; let x${j} = x[piece + q + ${j} * lanes];`)}
        ${eight((j) => `dot_part += w${j} * x${j};`)}
      }
      for (; q < right_in; q += lanes) { dot_part += values[w + q] * x[piece + q]; }
    }
    workgroupBarrier();
    sums[local] = dot_part;
    workgroupBarrier();
    for (var half = lanes / 2; half > 0; half >>= 1) {
      if (lane < half) { sums[local] += sums[local + half]; }
      workgroupBarrier();
    }
    for (var o = local; o < ${tile} * left_out; o += 256) {
      let p = o % ${tile};
      if (first + p >= right_out) { continue; }
      let w = record.y + (o / ${tile}) * left_in + begin;
      var sum = 0.0;
      var j = 0u;
      for (; j + 7 < size; j += 8) {
        ${eight((k) => `let w${k} = values[w + j + ${k}];`)}
        ${eight((k) => `sum += w${k} * sums[((j + ${k}) * ${tile} + p) * lanes];`)}
      }
      for (; j < size; j++) { sum += values[w + j] * sums[(j * ${tile} + p) * lanes]; }
      y[y_at + (o / ${tile}) * right_out + first + p] += bitcast<f32>(record.w) * sum;
    }
  }
}
`;

/** A row's adapter of one linear, the sizes of its factors, and where its outputs are. */
interface Update {
  readonly row: number;
  readonly yAt: number;
  readonly left: { readonly at: number; readonly out: number; readonly in: number };
  readonly right: { readonly at: number; readonly out: number; readonly in: number };
  readonly scale: number;
}

/** Calls `body` for every row and linear with an adapter. */
function forEachUpdate(
  { slots, records, tables }: Pick<Arrays<Buffers>, "slots" | "records" | "tables">,
  { rows, in: inSize, out0, out1, out2, linear, capacity }: Words,
  body: (update: Update) => void,
): void {
  const outs = [out0, out1, out2];
  for (let row = 0; row < rows; row++) {
    if (slots[row] >= capacity) continue;
    let yAt = row * (out0 + out1 + out2);
    outs.forEach((out, i) => {
      const at = recordWords * ((linear + i) * capacity + slots[row]);
      if (out > 0 && records[at + 2] > 0) {
        const [table, offset] = records.subarray(at, at + 2);
        const [leftOut, leftIn] = tables.subarray(table, table + 2);
        body({
          row,
          yAt,
          left: { at: offset, out: leftOut, in: leftIn },
          right: { at: offset + leftOut * leftIn, out: out / leftOut, in: inSize / leftIn },
          scale: floatOf(records[at + 3]),
        });
      }
      yAt += out;
    });
  }
}

/** The update by a Kronecker product of up to three linears that share x, each row with its own adapter. */
export const kronLinear: Kernel<Buffers, Uniforms> = defineKernel({
  name: "kron_linear",
  doc:
    "y[r] += scale kron(W1, W2) x[r] for each of the linears `linear`, `linear + 1` and `linear + 2` whose out is not 0, in " +
    "its columns of y, with W1 (o, i), W2 (out / o, in / i) and scale those of slot slots[r]; a slot of capacity or more " +
    "(0xffffffff: none) and count 0 add nothing. With o = i = 1 and W1 = 1, W2 is a whole matrix",
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
      doc: "at a record's offset: o, which divides out, and i, which divides in",
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "at a record's offset: W1 (o, i), then W2 (out / o, in / i), row-major",
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
          { name: "tables", access: "read" },
          { name: "values", access: "read" },
          { name: "y", access: "read_write" },
        ],
        grid: grid(rows * (tilesOf(out0) + tilesOf(out1) + tilesOf(out2)), limits),
      }],
    };
  },
  reference({ x, slots, records, tables, values, y }, uniforms) {
    forEachUpdate({ slots, records, tables }, uniforms, ({ row, yAt, left, right, scale }) => {
      for (let p = 0; p < right.out; p++) {
        const dots = Array.from({ length: left.in }, (_, j) => {
          const begin = row * uniforms.in + j * right.in;
          let sum = 0;
          for (let q = 0; q < right.in; q++) sum += values[right.at + p * right.in + q] * x[begin + q];
          return sum;
        });
        for (let i = 0; i < left.out; i++) {
          const sum = dots.reduce((sum, dot, j) => sum + values[left.at + i * left.in + j] * dot, 0);
          y[yAt + i * right.out + p] += scale * sum;
        }
      }
    });
  },
  cpu({ x, slots, records, tables, values, y }, uniforms) {
    forEachUpdate({ slots, records, tables }, uniforms, ({ row, yAt, left, right, scale }) => {
      const part = (at: number, count: number) => values.subarray(at, at + count) as Float32Array;
      const dots = new Float32Array(right.out * left.in);
      product(
        {
          x: part(right.at, right.out * right.in),
          weight: x.subarray(row * uniforms.in, (row + 1) * uniforms.in) as Float32Array,
          y: dots,
        },
        { rows: right.out, inSize: right.in, outSize: left.in, accumulate: false },
      );
      for (let i = 0; i < dots.length; i++) dots[i] *= scale;
      product(
        {
          x: part(left.at, left.out * left.in),
          weight: dots,
          y: y.subarray(yAt, yAt + left.out * right.out) as Float32Array,
        },
        { rows: left.out, inSize: left.in, outSize: right.out, accumulate: true },
      );
    });
  },
  wasm: ({ rows, in: inSize, out0, out1, out2, linear, capacity }) => ({
    function: "kron_linear",
    args: [
      ...["x", "slots", "records", "tables", "values", "y", out0 + out1 + out2, "room"],
      ...[rows, inSize, out0, out1, out2, linear, capacity],
    ],
    items: out0 + out1 + out2,
    // Of a whole matrix: factors are known when it runs.
    work: rows * inSize * (out0 + out1 + out2),
    each: { room: 4 * Math.max(8 * inSize + 512, 4096) },
  }),
  tolerance: 1e-5,
});

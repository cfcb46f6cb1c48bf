import {
  type BankBuffer,
  bankBuffers,
  bankUniforms as uniforms,
  type BankWords as Words,
} from "./bank_rows.ts";
import { produceBeside, type RowUpdate, updateLaunch } from "./beside_update.ts";
import { type Arrays, defineKernel, type Kernel } from "./kernel.ts";
import { product } from "./linear/cpu.ts";
import { floatOf, recordWords } from "./record.ts";

type Uniforms = keyof typeof uniforms;

/** How workgroups share a row's update. */
interface Split {
  /** Rows of the second factor that one workgroup takes at a time. */
  readonly tile: number;
  /** Workgroups of a linear at most. What factors it has is known when it runs: a whole matrix has a row for each output. */
  readonly most: number;
}

const splitOf = (rows: number): Split =>
  rows === 1 ? { tile: 2, most: 256 } : { tile: 8, most: Math.max(16, Math.ceil(256 / rows)) };

const groupsOf = (out: number, { tile, most }: Split): number => Math.min(most, Math.ceil(out / tile));

/** A dot product, whose loads are under way together, sixteen or four at a time: a thread alone would wait for each. */
function dotText(
  { sum, at, step, end, load, factor }: Readonly<Record<"sum" | "at" | "step" | "end", string>> & {
    readonly load: (i: string) => string;
    readonly factor: (i: string) => string;
  },
): string {
  const some = (count: number): string => {
    const each = Array.from({ length: count }, (_, i) => `${at} + ${i} * ${step}`);
    return `for (; ${each.at(-1)} < ${end}; ${at} += ${count} * ${step}) {
        ${each.map((i, k) => `let w${k} = ${load(i)}; let f${k} = ${factor(i)};`).join("\n        ")}
        ${each.map((_, k) => `${sum} += w${k} * f${k};`).join(" ")}
      }`;
  };
  return [16, 4, 1].map(some).join("\n      ");
}

/**
 * A workgroup takes a tile of rows of the second factor. Their dot products with pieces of x are made as many at a time as it has
 * threads, by 'lanes' threads each where there are more. Every output has one thread.
 */
function textOf(split: Split): string {
  const { tile } = split, pieces = 256 / tile;
  return /* wgsl */ `
  let shares = vec3u(groups_of(uniforms.out0), groups_of(uniforms.out1), groups_of(uniforms.out2));
  let row = index / (shares.x + shares.y + shares.z);
  if (row >= uniforms.rows) { return; }
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return; }
  var part = index % (shares.x + shares.y + shares.z);
  var linear = uniforms.linear;
  var out = uniforms.out0;
  var y_at = row * (uniforms.out0 + uniforms.out1 + uniforms.out2);
  if (part >= shares.x) {
    part -= shares.x;
    linear += 1;
    y_at += out;
    out = uniforms.out1;
    if (part >= shares.y) {
      part -= shares.y;
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
  let right = record.y + left_out * left_in;
  for (var first = part * ${tile}; first < right_out; first += groups_of(out) * ${tile}) {
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
      ${
    dotText({
      ...{ sum: "dot_part", at: "q", step: "lanes", end: "right_in" },
      load: (i) => `values[w + ${i}]`,
      factor: (i) => `x_at(piece + ${i})`,
    })
  }
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
      ${
    dotText({
      ...{ sum: "sum", at: "j", step: "1", end: "size" },
      load: (i) => `values[w + ${i}]`,
      factor: (i) => `sums[((${i}) * ${tile} + p) * lanes]`,
    })
  }
      add_y(y_at + (o / ${tile}) * right_out + first + p, bitcast<f32>(record.w) * sum, begin == 0);
    }
  }
  }
`;
}

function update({ rows, out0, out1, out2 }: Words): RowUpdate {
  const split = splitOf(rows), { tile, most } = split;
  return {
    uniforms,
    declarations: `
fn groups_of(out: u32) -> u32 { return min(${most}u, (out + ${tile - 1}) / ${tile}); }
var<workgroup> sums: array<f32, 256>;`,
    text: textOf(split),
    groups: rows * [out0, out1, out2].reduce((sum, out) => sum + groupsOf(out, split), 0),
  };
}

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
  { slots, records, tables }: Pick<Arrays<BankBuffer>, "slots" | "records" | "tables">,
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
export const kronLinear: Kernel<BankBuffer, Uniforms> = defineKernel({
  name: "kron_linear",
  doc:
    "y[r] += scale kron(W1, W2) x[r] for each of the linears `linear`, `linear + 1` and `linear + 2` whose out is not 0, in " +
    "its columns of y, with W1 (o, i), W2 (out / o, in / i) and scale those of slot slots[r]; a slot of capacity or more " +
    "(0xffffffff: none) and count 0 add nothing. With o = i = 1 and W1 = 1, W2 is a whole matrix",
  buffers: bankBuffers({
    records: "offset into tables, offset into values, count, bits of a float32 scale",
    tables: "at a record's offset: o, which divides out, and i, which divides in",
    values: "at a record's offset: W1 (o, i), then W2 (out / o, in / i), row-major",
  }),
  uniforms,
  launch: ({ uniforms: words }, limits) => updateLaunch(update(words), limits),
  produce: produceBeside("kron_linear", update),
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

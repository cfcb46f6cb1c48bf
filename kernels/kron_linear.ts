import {
  type BankBuffer,
  bankBuffers,
  bankUniforms as uniforms,
  type BankWords as Words,
} from "./bank_rows.ts";
import { produceBeside, type RowUpdate, updateLaunch } from "./beside_update.ts";
import { type Arrays, defineKernel, type Kernel } from "./kernel.ts";
import { declarationsOf, groupsOf, splitOf, updateText } from "./kron/wgsl.ts";
import { product } from "./linear/cpu.ts";
import { floatOf, recordWords } from "./record.ts";

type Uniforms = keyof typeof uniforms;

function update({ rows, out0, out1, out2 }: Words): RowUpdate {
  const split = splitOf(rows), groups = [out0, out1, out2].map((out) => groupsOf(out, split));
  return {
    uniforms,
    declarations: declarationsOf(rows),
    text: updateText(rows),
    groups: rows * groups.reduce((sum, count) => sum + count, 0),
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
  adds: "y",
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

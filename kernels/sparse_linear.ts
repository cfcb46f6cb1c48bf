import {
  type BankBuffer,
  bankBuffers,
  bankUniforms as uniforms,
  type BankWords as Words,
  findRow,
  piecesOf,
} from "./bank_rows.ts";
import { produceBeside, type RowUpdate, updateLaunch } from "./beside_update.ts";
import { type Arrays, defineKernel, type Kernel } from "./kernel.ts";
import { floatOf, recordWords } from "./record.ts";
import { rowsLaunch } from "./sparse/rows.ts";

type Uniforms = keyof typeof uniforms;

/** Threads that share the sum of an output, and outputs of a workgroup. */
const lanes = 8;
const outputs = 32;

/** Numbers of an output that a thread reads at a time: it would wait for each. */
const atOnce = Array.from({ length: 4 }, (_, i) => i);

const text = /* wgsl */ `
  ${findRow("index", `${outputs}u`)}
  let output = piece * ${outputs} + local / ${lanes};
  var sum = 0.0;
  if (output < out) {
    let columns = record.x + out + 1;
    let end = tables[record.x + output + 1];
    var e = tables[record.x + output] + local % ${lanes};
    for (; e + ${(atOnce.length - 1) * lanes} < end; e += ${atOnce.length * lanes}) {
      ${
  atOnce.map((i) =>
    `let at${i} = tables[columns + e + ${i * lanes}]; let value${i} = values[record.y + e + ${i * lanes}];`
  ).join("\n      ")
}
      ${atOnce.map((i) => `let x${i} = x_at(row * uniforms.in + at${i});`).join(" ")}
      ${atOnce.map((i) => `sum += value${i} * x${i};`).join(" ")}
    }
    for (; e < end; e += ${lanes}) {
      sum += values[record.y + e] * x_at(row * uniforms.in + tables[columns + e]);
    }
  }
  sums[local] = sum;
  workgroupBarrier();
  if (local % ${lanes} == 0 && output < out) {
    for (var lane = 1u; lane < ${lanes}; lane++) { sum += sums[local + lane]; }
    add_y(y_at + output, bitcast<f32>(record.w) * sum, true);
  }
`;

/** The update of one row. */
const update = (words: Words): RowUpdate => ({
  uniforms,
  declarations: "var<workgroup> sums: array<f32, 256>;",
  text,
  groups: piecesOf(words, outputs),
});

function added({ x, slots, records, tables, values, y }: Arrays<BankBuffer>, words: Words): void {
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
export const sparseLinear: Kernel<BankBuffer, Uniforms> = defineKernel({
  name: "sparse_linear",
  doc:
    "y[r] += scale dW x[r] for each of the linears `linear`, `linear + 1` and `linear + 2` whose out is not 0, in its columns " +
    "of y, with the sparse dW and the scale of slot slots[r]; a slot of capacity or more (0xffffffff: none) and count 0 " +
    "add nothing",
  buffers: bankBuffers({
    records: "offset into tables, offset into values, count, bits of a float32 scale",
    tables:
      "at a record's offset: where each output's numbers begin (out + 1), then the column of each number (count)",
    values: "at a record's offset: the numbers (count), by output",
  }),
  uniforms,
  adds: "y",
  launch: ({ uniforms: words }, limits) =>
    words.rows === 1 ? updateLaunch(update(words), limits) : rowsLaunch(uniforms, words, limits),
  produce: produceBeside("sparse_linear", update),
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

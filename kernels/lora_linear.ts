import { type Arrays, defineKernel, type Kernel } from "./kernel.ts";
import { product } from "./linear/cpu.ts";
import { transposedProduct } from "./linear/transposed_cpu.ts";
import { besideProductParts } from "./lora/beside.ts";
import { loraLaunch, uniforms, type Words } from "./lora/launch.ts";
import { floatOf, recordWords } from "./record.ts";

type Buffers = "x" | "slots" | "records" | "values" | "y";
type Uniforms = keyof typeof uniforms;

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
      doc: "at a record's offset: A (rank, in), then B turned, (rank, out), row-major; ranks up to 65536",
    },
    y: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "(rows, out0 + out1 + out2), row-major, added to; out1 and out2 may be 0",
    },
  },
  uniforms,
  adds: "y",
  launch: ({ uniforms }, limits) => loraLaunch(uniforms, limits),
  produce: {
    after: "linear",
    same: [["x", "x"], ["y", "y"]],
    takes: ["weight"],
    result: "y",
    parts(before, { uniforms: words }, limits) {
      const { rows, in: inSize, out, accumulate } = before.uniforms;
      const columns = words.out0 + words.out1 + words.out2;
      if (rows !== words.rows || inSize !== words.in || out !== columns) return undefined;
      const dense = { in: inSize, dtype: before.dtypes.weight };
      return besideProductParts(words, dense, { accumulate: accumulate !== 0, limits });
    },
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
        const b = offset + rank * inSize + o;
        const sum = hidden.reduce((sum, h, i) => sum + h * values[b + i * out], 0);
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
      transposedProduct(
        { x: hidden, weight: up, y: y.subarray(yAt, yAt + out) as Float32Array },
        { rows: 1, inner: rank, columns: out, factor: scale, accumulate: true },
      );
    });
  },
  wasm: ({ rows, in: inSize, out0, out1, out2, linear, capacity }) => ({
    function: "lora_linear",
    args: [
      ...["x", inSize, "slots", "records", "values", "y", out0 + out1 + out2, "hidden"],
      ...[inSize, out0, out1, out2, linear, capacity],
    ],
    items: rows,
    // Ranks are known when it runs; 8 is usual.
    work: 8 * rows * (inSize + out0 + out1 + out2),
    // 64 ranks of four rows.
    each: { hidden: 4 * 64 * 4 },
  }),
  tolerance: 1e-5,
});

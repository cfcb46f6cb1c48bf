import { type Arrays, defineKernel, grid, type Kernel } from "./kernel.ts";
import { chunk, down, mostBetween, uniforms, up } from "./randlora/text.ts";
import { floatOf, recordWords } from "./record.ts";

type Buffers = "x" | "slots" | "records" | "tables" | "values" | "y";
type Uniforms = "rows" | "in" | "out0" | "out1" | "out2" | "linear" | "capacity";
type Words = Readonly<Record<Uniforms, number>>;

/** The factors of an adapter's linear, as the kernel's tables and values have them. */
interface Factors {
  readonly count: number;
  readonly lambda: (k: number) => number;
  readonly small: (k: number, column: number) => number;
  readonly large: (row: number, k: number) => number;
}

function factorsOf(
  { tables, values }: Pick<Arrays<Buffers>, "tables" | "values">,
  { table, offset, short }: { readonly table: number; readonly offset: number; readonly short: number },
): Factors {
  const [rank, wide, pieces] = tables.subarray(table, table + 3);
  const bases = Math.ceil(short / rank), count = bases * rank, gamma = offset + count;
  const b = table + 4 + rank * wide;
  return {
    count,
    lambda: (k) => values[offset + k],
    small: (k, column) =>
      floatOf(tables[table + 4 + Math.floor(k / bases) * wide + column]) *
      values[gamma + k % bases * short + column],
    large: (row, k) => floatOf(tables[b + row * pieces * rank + k]),
  };
}

function added({ x, slots, records, tables, values, y }: Arrays<Buffers>, words: Words): void {
  const { rows, in: inSize, out0, out1, out2, linear, capacity } = words;
  for (let row = 0; row < rows; row++) {
    if (slots[row] >= capacity) continue;
    let yAt = row * (out0 + out1 + out2);
    for (const [i, out] of [out0, out1, out2].entries()) {
      const at = recordWords * ((linear + i) * capacity + slots[row]), begin = yAt;
      yAt += out;
      if (out === 0 || records[at + 2] === 0) continue;
      const tall = inSize <= out, scale = floatOf(records[at + 3]);
      const { count, lambda, small, large } = factorsOf({ tables, values }, {
        table: records[at],
        offset: records[at + 1],
        short: Math.min(inSize, out),
      });
      const between = Float64Array.from({ length: count }, (_, k) => {
        let sum = 0;
        for (let q = 0; q < inSize; q++) sum += (tall ? small(k, q) : large(q, k)) * x[row * inSize + q];
        return lambda(k) * sum;
      });
      for (let o = 0; o < out; o++) {
        let sum = 0;
        for (let k = 0; k < count; k++) sum += (tall ? large(o, k) : small(k, o)) * between[k];
        y[begin + o] += scale * sum;
      }
    }
  }
}

/** RandLoRA of up to three linears that share x, each row with its own adapter. */
export const randloraLinear: Kernel<Buffers, Uniforms> = defineKernel({
  name: "randlora_linear",
  doc:
    "y[r] += scale dW x[r] for each of the linears `linear`, `linear + 1` and `linear + 2` whose out is not 0, in its columns " +
    "of y, with RandLoRA's dW of slot slots[r]: Big Small of bases that adapters share, (max, n r) and (n r, min) of the " +
    "linear's sizes, transposed where in is above out; a slot of capacity or more (0xffffffff: none) and count 0 add " +
    "nothing",
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
        "at a record's offset: r, at most min; columns of A, N, rows of B; then the bits of float32 A (r, columns) and " +
        "B (rows, N, r): Big[o, k] = B[o, k div r, k mod r]",
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc:
        "at a record's offset: lambda (r n), then gamma (n, min), with n = ceil(min / r): Small[k, q] = lambda[k] " +
        "A[k div n, q] gamma[k mod n, q]",
    },
    y: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "(rows, out0 + out1 + out2), row-major, added to; out1 and out2 may be 0",
    },
  },
  uniforms,
  adds: "y",
  launch({ uniforms: { rows, in: inSize, out0, out1, out2 } }, limits) {
    const outs = [out0, out1, out2];
    const workgroups = (results: (out: number) => number) =>
      grid(rows * outs.reduce((sum, out) => sum + Math.ceil(results(out) / chunk), 0), limits);
    const most = outs.reduce((sum, out) => sum + mostBetween(inSize, out), 0);
    const bindings = [
      { name: "x", access: "read" },
      { name: "slots", access: "read" },
      { name: "records", access: "read" },
      { name: "tables", access: "read" },
      { name: "values", access: "read" },
      { name: "between", access: "read_write" },
    ] as const;
    return {
      scratch: { between: 4 * rows * most },
      dispatches: [
        { wgsl: down, bindings, grid: workgroups((out) => mostBetween(inSize, out)) },
        {
          wgsl: up,
          bindings: [...bindings, { name: "y", access: "read_write" }],
          grid: workgroups((out) => out),
        },
      ],
    };
  },
  reference: added,
  wasm({ rows, in: inSize, out0, out1, out2, linear, capacity }) {
    const outs = [out0, out1, out2],
      sum = (of: (out: number) => number) => outs.reduce((total, out) => total + of(out), 0);
    const most = sum((out) => mostBetween(inSize, out)), sizes = [rows, inSize, ...outs, linear, capacity];
    const numbers = rows * sum((out) => Math.min(inSize, out));
    return {
      before: [{
        function: "randlora_down",
        args: ["x", "slots", "records", "tables", "values", "between", "room", ...sizes],
        items: most,
        work: inSize * numbers,
      }],
      function: "randlora_up",
      args: ["slots", "records", "tables", "values", "between", "y", "room", ...sizes],
      items: sum((out) => out),
      work: Math.max(...outs) * numbers,
      scratch: { between: 4 * rows * most },
      each: { room: 4 * Math.max(8 * inSize + 512, Math.max(...outs) + 64) },
    };
  },
  tolerance: 1e-5,
});

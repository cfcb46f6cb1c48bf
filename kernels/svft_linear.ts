import { type Arrays, defineKernel, grid, type Kernel } from "./kernel.ts";
import { product } from "./linear/cpu.ts";
import {
  bankUniforms,
  type BankWords,
  sparseProduct,
  tableFloats,
  type Update,
  updatesOf,
} from "./svft/records.ts";
import { downWgsl, middleWgsl, outputs, tileRows, upWgsl } from "./svft/wgsl.ts";

type Buffers = "x" | "slots" | "records" | "tables" | "values" | "y";
type Uniforms = keyof typeof bankUniforms;

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
const outsOf = ({ out0, out1, out2 }: BankWords): number[] => [out0, out1, out2];
const hiddenOf = (words: BankWords): number[] => outsOf(words).map((out) => Math.min(out, words.in));

/** Neighbours that share their factors. */
function runsOf(updates: readonly Update[]): Update[][] {
  const runs: Update[][] = [];
  for (const update of updates) {
    const last = runs.at(-1)?.[0];
    if (last?.table === update.table && last.out === update.out && last.n === update.n) {
      runs.at(-1)!.push(update);
    } else runs.push([update]);
  }
  return runs;
}

/** Rows that share their factors are multiplied together. */
function cpu(arrays: Arrays<Buffers>, words: BankWords): void {
  const { x, values, y } = arrays as Record<Buffers, Float32Array>;
  const { in: inSize } = words, tables = tableFloats(arrays);
  for (const run of runsOf(updatesOf(arrays, words))) {
    const [{ table, n, out }] = run, rows = run.length, up = table + n * inSize;
    const gathered = new Float32Array(rows * inSize), down = new Float32Array(rows * n);
    run.forEach(({ row }, i) => gathered.set(x.subarray(row * inSize, (row + 1) * inSize), i * inSize));
    product({ x: gathered, weight: tables.subarray(table, up), y: down }, {
      ...{ rows, inSize, outSize: n, accumulate: false },
    });
    run.forEach((update, i) =>
      down.set(sparseProduct(values, update, down.subarray(i * n, (i + 1) * n)), i * n)
    );
    const result = new Float32Array(rows * out);
    product({ x: down, weight: tables.subarray(up, up + out * n), y: result }, {
      ...{ rows, inSize: n, outSize: out, accumulate: false },
    });
    run.forEach(({ yAt }, i) => {
      for (let o = 0; o < out; o++) y[yAt + o] += result[i * out + o];
    });
  }
}

/** SVFT's update of up to three linears that share x, each row with its own sparse matrix between shared factors. */
export const svftLinear: Kernel<Buffers, Uniforms> = defineKernel({
  name: "svft_linear",
  doc:
    "y[r] += U (M (V x[r])) for each of the linears `linear`, `linear + 1` and `linear + 2` whose out is not 0, in its " +
    "columns of y, with the sparse M (n, n) of slot slots[r], n at most min(in, out); a slot of capacity or more " +
    "(0xffffffff: none) and n = 0 add nothing. V x and M (V x) are rounded in between",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    records: {
      access: "read",
      dtypes: ["uint32"],
      doc: "(linears, capacity, 4): offset into tables, offset into values, n, a word not used here",
    },
    tables: {
      access: "read",
      dtypes: ["uint32"],
      doc: "at a record's offset, bits of float32: V (n, in), then U (out, n), row-major",
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc:
        "at a record's offset: n + 1 numbers, where the entries of each row of M begin; then each entry's column, " +
        "then its value",
    },
    y: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "(rows, out0 + out1 + out2), row-major, added to; out1 and out2 may be 0",
    },
  },
  uniforms: bankUniforms,
  adds: "y",
  launch({ uniforms: words }, limits) {
    const { rows } = words, tiles = Math.ceil(rows / tileRows), hidden = sum(hiddenOf(words));
    const chunks = (sizes: readonly number[]): number => sum(sizes.map((size) => Math.ceil(size / outputs)));
    const bindings = (source: string, numbers: string, target: string) => [
      { name: source, access: "read" as const },
      { name: "slots", access: "read" as const },
      { name: "records", access: "read" as const },
      { name: numbers, access: "read" as const },
      { name: target, access: "read_write" as const },
    ];
    return {
      scratch: { down: 4 * rows * hidden, middle: 4 * rows * hidden },
      dispatches: [
        {
          wgsl: downWgsl,
          bindings: bindings("x", "tables", "down"),
          grid: grid(tiles * chunks(hiddenOf(words)), limits),
        },
        {
          wgsl: middleWgsl,
          bindings: bindings("down", "values", "middle"),
          grid: grid(Math.ceil(rows * hidden / 64), limits),
        },
        {
          wgsl: upWgsl,
          bindings: bindings("middle", "tables", "y"),
          grid: grid(tiles * chunks(outsOf(words)), limits),
        },
      ],
    };
  },
  reference(arrays, words) {
    const { x, values, y } = arrays, { in: inSize } = words, tables = tableFloats(arrays);
    for (const update of updatesOf(arrays, words)) {
      const { row, yAt, out, table, n } = update, up = table + n * inSize, z = new Float64Array(n);
      for (let k = 0; k < n; k++) {
        for (let i = 0; i < inSize; i++) z[k] += tables[table + k * inSize + i] * x[row * inSize + i];
      }
      const m = sparseProduct(values, update, z);
      for (let o = 0; o < out; o++) {
        let all = 0;
        for (let k = 0; k < n; k++) all += tables[up + o * n + k] * m[k];
        y[yAt + o] += all;
      }
    }
  },
  cpu,
  wasm: (words) => {
    const { rows, in: inSize, out0, out1, out2, linear, capacity } = words;
    const most = Math.max(...hiddenOf(words)), bytes = 4 * rows * most;
    return {
      function: "svft_linear",
      args: [
        ...["x", inSize, "slots", "records", "tables", "values", "y", out0 + out1 + out2, "down", "middle"],
        ...[most, inSize, out0, out1, out2, linear, capacity],
      ],
      items: rows,
      work: rows * most * (inSize + out0 + out1 + out2),
      scratch: { down: bytes, middle: bytes },
    };
  },
  tolerance: 1e-5,
});

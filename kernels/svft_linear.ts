import { type Arrays, type Case, defineKernel, grid, type Kernel, normals } from "./kernel.ts";
import { product } from "./linear/cpu.ts";
import { recordWords } from "./record.ts";
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

interface Sizes {
  readonly in: number;
  readonly outs: readonly number[];
  /** The factors of each slot: slots of one number share theirs. */
  readonly factors: readonly number[];
  readonly slots: readonly number[];
  /** Entries of a row of M, at most. */
  readonly entries?: number;
}

/** Rows of entries at random columns, as they stand in values. */
function sparse(n: number, entries: number, random: () => number): number[] {
  const starts = [0], columns: number[] = [], numbers: number[] = [];
  for (let i = 0; i < n; i++) {
    const count = Math.floor(random() * (entries + 1));
    for (let e = 0; e < count; e++) {
      columns.push(Math.floor(random() * n));
      numbers.push(2 * random() - 1);
    }
    starts.push(columns.length);
  }
  return [...starts, ...columns, ...numbers];
}

/** A layer that is not asked for, then those of the group. Factors of an odd number have a row less than they can. */
function sized({ in: inSize, outs, factors, slots, entries = 3 }: Sizes): Case<Buffers, Uniforms> {
  const rows = slots.length, capacity = factors.length;
  const [out0, out1 = 0, out2 = 0] = outs;
  return {
    name: `${rows} rows, ${inSize} to ${outs}, factors ${factors}`,
    uniforms: { rows, in: inSize, out0, out1, out2, layer: 1, capacity },
    make(random) {
      const records = new Uint32Array((1 + outs.length) * capacity * recordWords);
      const values = [7, 7, 7], starts = new Map<string, number>();
      let words = 5;
      outs.forEach((out, i) =>
        factors.forEach((factor, slot) => {
          const n = Math.max(1, Math.min(out, inSize) - factor % 2), key = `${i} ${factor}`;
          if (!starts.has(key)) {
            starts.set(key, words);
            words += n * (inSize + out);
          }
          // In a group one linear of each slot is not adapted.
          const own = outs.length > 1 && slot % outs.length === i ? 0 : n;
          const at = recordWords * ((1 + i) * capacity + slot);
          records.set([starts.get(key)!, values.length, own, 0], at);
          if (own > 0) { for (const value of sparse(n, entries, random)) values.push(value); }
        })
      );
      return {
        x: normals(rows * inSize, random),
        slots: Uint32Array.from(slots),
        records,
        tables: new Uint32Array(normals(words, random, 1 / Math.sqrt(inSize)).buffer),
        values: Float32Array.from(values),
        y: normals(rows * (out0 + out1 + out2), random),
      };
    },
  };
}

const none = 0xffffffff;

/** SVFT's update of up to three linears that share x, each row with its own sparse matrix between shared factors. */
export const svftLinear: Kernel<Buffers, Uniforms> = defineKernel({
  name: "svft_linear",
  doc:
    "y[r] += U (M (V x[r])) for each of the linears `layer`, `layer + 1` and `layer + 2` whose out is not 0, in its " +
    "columns of y, with the sparse M (n, n) of slot slots[r], n at most min(in, out); a slot of capacity or more " +
    "(0xffffffff: none) and n = 0 add nothing. V x and M (V x) are rounded in between",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    records: {
      access: "read",
      dtypes: ["uint32"],
      doc: "(layers, capacity, 4): offset into tables, offset into values, n, a word not used here",
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
    const { rows, in: inSize, out0, out1, out2, layer, capacity } = words;
    const bytes = 4 * rows * Math.max(...hiddenOf(words));
    return {
      function: "svft_linear",
      args: [
        ...["x", inSize, "slots", "records", "tables", "values", "y", out0 + out1 + out2, "down", "middle"],
        ...[rows, inSize, out0, out1, out2, layer, capacity],
      ],
      scratch: { down: bytes, middle: bytes },
    };
  },
  tolerance: 1e-5,
  cases: [
    sized({ in: 1, outs: [1], factors: [0], slots: [0] }),
    sized({ in: 31, outs: [37], factors: [1, 1, 0], slots: [2, 0, 1, none, 2, 1, 0, 0, 1, 1, 0] }),
    sized({ in: 130, outs: [67], factors: [0, 0], slots: [1, 0, 1, 0, 0, 1, 1, 0, 1], entries: 9 }),
    sized({ in: 33, outs: [64, 31], factors: [0, 0, 3], slots: [1, none, 0, 1] }),
    sized({ in: 64, outs: [65, 256, 1], factors: [0, 0, 1], slots: [0, 1, 0, 1, 2, none, none, 1, 0] }),
    sized({ in: 20, outs: [9], factors: [0], slots: [...Array(9).fill(none), 0] }),
  ],
  benches: [{
    ...sized({
      in: 4096,
      outs: [4096],
      factors: Array(16).fill(0),
      slots: Array.from({ length: 16 }, (_, i) => i),
      entries: 2,
    }),
    bytes: 4 * (2 * 4096 * 4096 + 16 * 5 * 4096),
    flops: 16 * 4 * 4096 * 4096,
  }],
});

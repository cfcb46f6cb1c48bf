/**
 * What the kernels of SVFT read: two factors that many adapters share, and each adapter's sparse matrix between them.
 *
 * @module
 */
import type { Arrays } from "../kernel.ts";
import { recordWords } from "../record.ts";

/** The uniform words of a step over a bank. */
export const bankUniforms = {
  rows: "u32",
  in: "u32",
  out0: "u32",
  out1: "u32",
  out2: "u32",
  linear: "u32",
  capacity: "u32",
} as const;

/** Their values. */
export type BankWords = Readonly<Record<keyof typeof bankUniforms, number>>;

/** A row's adapter of one linear, and where its numbers are. */
export interface Update {
  readonly row: number;
  /** Where its outputs begin in y. */
  readonly yAt: number;
  readonly out: number;
  /** V (n, in), then U (out, n). */
  readonly table: number;
  /** n + 1 starts, then the columns of all entries, then their values. */
  readonly values: number;
  readonly n: number;
}

/** The rows and linears that an adapter changes, linear by linear. */
export function updatesOf(
  { slots, records }: Pick<Arrays<"slots" | "records">, "slots" | "records">,
  { rows, out0, out1, out2, linear, capacity }: BankWords,
): Update[] {
  const updates: Update[] = [], outs = [out0, out1, out2], width = out0 + out1 + out2;
  let column = 0;
  outs.forEach((out, i) => {
    for (let row = 0; row < rows && out > 0; row++) {
      if (slots[row] >= capacity) continue;
      const at = recordWords * ((linear + i) * capacity + slots[row]);
      const [table, values, n] = records.subarray(at, at + 3);
      if (n > 0) updates.push({ row, yAt: row * width + column, out, table, values, n });
    }
    column += out;
  });
  return updates;
}

/** m = M z of one adapter. */
export function sparseProduct(
  values: ArrayLike<number>,
  { values: at, n }: Pick<Update, "values" | "n">,
  z: ArrayLike<number>,
): Float64Array {
  const m = new Float64Array(n), count = values[at + n], columns = at + n + 1, entries = columns + count;
  for (let i = 0; i < n; i++) {
    for (let e = values[at + i]; e < values[at + i + 1]; e++) {
      m[i] += values[entries + e] * z[values[columns + e]];
    }
  }
  return m;
}

/** Words of a table as the floats that they are. */
export function tableFloats({ tables }: Pick<Arrays<"tables">, "tables">): Float32Array {
  return new Float32Array(tables.buffer, tables.byteOffset, tables.length);
}

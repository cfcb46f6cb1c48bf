/**
 * What `wavelet_linear` computes, as a specification and at a CPU's speed.
 *
 * @module
 */
import { type BankBuffer, type BankWords, forEachAdapted } from "../bank_rows.ts";
import type { Arrays } from "../kernel.ts";
import { floatOf } from "../record.ts";
import { tableHead } from "./table.ts";

/** A table's parts. */
export interface Filters {
  readonly taps: number;
  readonly shift: number;
  /** The destination's filters, and where their offsets begin. */
  readonly filters: number;
  readonly offsets: number;
  /** Low, then high taps. */
  readonly values: Float32Array;
}

/** The parts of the table at a word. */
export function filtersAt(tables: Uint32Array, at: number): Filters {
  const taps = tables[at], begin = at + tableHead;
  return {
    taps,
    shift: tables[at + 1],
    filters: tables[at + 2],
    offsets: begin + 2 * taps,
    values: Float32Array.from(tables.subarray(begin, begin + 2 * taps), floatOf),
  };
}

/**
 * SUM_t signal[at + t] filter[t - 2 place + shift], t < length: one coefficient of a signal. Its arguments are numbers alone,
 * for a call is but a few operations.
 */
export function coefficient(
  signal: Float32Array,
  at: number,
  length: number,
  filter: number,
  { taps, shift, values }: Pick<Filters, "taps" | "shift" | "values">,
): number {
  const kind = (filter & 1) * taps, begin = (filter & ~1) - shift;
  const first = begin < 0 ? -begin : 0, end = begin + taps > length ? length - begin : taps;
  let sum = 0;
  for (let j = first; j < end; j++) sum += values[kind + j] * signal[at + begin + j];
  return sum;
}

/** The definition: each entry's filters, one on x and one on y; all in float64. */
export function referenceWavelet(arrays: Arrays<BankBuffer>, words: BankWords): void {
  const tables = arrays.tables as Uint32Array, { x, values, y } = arrays, { in: inSize } = words;
  forEachAdapted(arrays, words, ({ row, out, at, table, values: first, scale }) => {
    const { taps, shift, filters, offsets, values: filter } = filtersAt(tables, table);
    const sums = new Float64Array(out), sources = offsets + filters + 1;
    const tap = (k: number, t: number): number => {
      const j = t - 2 * Math.floor(k / 2) + shift;
      return j >= 0 && j < taps ? filter[k % 2 * taps + j] : 0;
    };
    for (let k = 0; k < filters; k++) {
      for (let e = tables[offsets + k]; e < tables[offsets + k + 1]; e++) {
        const v = tables[sources + e];
        let source = 0;
        for (let q = 0; q < inSize; q++) source += tap(v, q) * x[row * inSize + q];
        for (let p = 0; p < out; p++) sums[p] += tap(k, p) * values[first + e] * source;
      }
    }
    sums.forEach((sum, p) => y[at + p] += scale * sum);
  });
}

/** The same with each filter over its own taps. */
export function cpuWavelet(arrays: Arrays<BankBuffer>, words: BankWords): void {
  const x = arrays.x as Float32Array, values = arrays.values as Float32Array, y = arrays.y as Float32Array;
  const tables = arrays.tables as Uint32Array;
  const known = new Map<number, Filters>();
  forEachAdapted(arrays, words, ({ row, out, at, table, values: first, scale }) => {
    const found = known.get(table) ?? filtersAt(tables, table);
    known.set(table, found);
    const { taps, shift, filters, offsets, values: filter } = found, sources = offsets + filters + 1;
    const from = row * words.in, length = words.in;
    for (let k = 0, e = 0; k < filters; k++) {
      const end = tables[offsets + k + 1];
      if (e === end) continue;
      let sum = 0;
      for (; e < end; e++) {
        sum += values[first + e] * coefficient(x, from, length, tables[sources + e], found);
      }
      const begin = (k & ~1) - shift, kind = (k & 1) * taps;
      for (let j = Math.max(0, -begin); j < taps && begin + j < out; j++) {
        y[at + begin + j] += scale * filter[kind + j] * sum;
      }
    }
  });
}

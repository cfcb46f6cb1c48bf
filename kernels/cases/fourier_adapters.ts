/**
 * Inputs for tests and benches of `fourier_linear` and `fourier_linears`.
 *
 * @module
 */
import { fourierTable, inOrder } from "../fourier_table.ts";
import { randomFrequencies } from "./random_frequencies.ts";
import { normals, type TypedArray } from "../kernel.ts";
import { bitsOf, noSlot, recordWords } from "../record.ts";
import { type LinearsBuffer, startOf } from "../fourier/linears.ts";

/** Sizes of a case, and how many coefficients each adapter has for each linear. */
export interface MixedSize {
  readonly rows: number;
  readonly in: number;
  readonly outs: readonly number[];
  /** Per adapter: its coefficients of the first linear; the next one has a few fewer. */
  readonly adapters: readonly number[];
}

/** Coefficients of linear `index`: adapters need not adapt all, and 0 adds nothing. */
const countOf = (n: number, index: number): number => Math.max(0, n - 3 * index);

/** Slots of a bank with room for the case's adapters and one more, and the number of the first linear in it. */
export const mixedBank = ({ adapters }: MixedSize): { linear: number; capacity: number } => ({
  linear: 1,
  capacity: adapters.length + 1,
});

/** Arrays of a case: rows take the adapters in turn, and then none; linears before and after stand empty. */
export function mixedArrays(size: MixedSize, random: () => number): Record<LinearsBuffer, TypedArray> {
  const { linear, capacity } = mixedBank(size);
  const tables: number[] = [7];
  const values: number[] = [NaN, NaN, NaN];
  const records = new Uint32Array((linear + size.outs.length) * capacity * recordWords);
  size.outs.forEach((out, index) =>
    size.adapters.forEach((most, slot) => {
      const n = countOf(most, index);
      const { u, v } = randomFrequencies(n, { out, in: size.in }, random);
      const made = fourierTable({ destination: u, source: v }, { destination: out, source: size.in });
      const scale = (slot + 1) / Math.sqrt(size.in * Math.max(n, 1));
      const record = ((linear + index) * capacity + slot) * recordWords;
      records.set([tables.length, values.length, n, bitsOf(scale)], record);
      for (const word of made.table) tables.push(word);
      for (const value of inOrder(normals(n, random), made.order)) values.push(value);
    })
  );
  const choices = size.adapters.length + (size.rows > 1 ? 1 : 0);
  const slots = Uint32Array.from({ length: size.rows }, (_, row) => {
    const choice = row % choices;
    return choice < size.adapters.length ? choice : noSlot;
  });
  return {
    x: normals(size.rows * size.in, random),
    slots,
    records,
    tables: Uint32Array.from(tables),
    values: Float32Array.from(values),
    y: normals(size.rows * startOf(size.outs, size.outs.length), random),
  };
}

/**
 * Records of adapters' own parameters, for cases.
 *
 * @module
 */
import type { ownWords } from "../own.ts";
import { recordWords } from "../record.ts";

/** What {@linkcode ownRecords} gives: uniform words, slots of rows, and records. */
export interface OwnCase {
  readonly uniforms: Readonly<Record<keyof typeof ownWords, number>>;
  readonly slots: Uint32Array;
  readonly records: Uint32Array;
}

/** Records to test with: parameter 1 of 2, of slots 0 and 2; slot 1 has nothing there, and one row has no adapter. */
export function ownRecords(
  rows: number,
  recordOf: (slot: 0 | 2) => readonly [table: number, first: number, count: number, scale: number],
): OwnCase {
  const capacity = 3, parameter = 1;
  const records = new Uint32Array(recordWords * capacity * 2);
  for (const slot of [0, 2] as const) {
    records.set(recordOf(slot), recordWords * (parameter * capacity + slot));
  }
  const pattern = [0, 2, 0xffffffff, 1];
  const slots = Uint32Array.from({ length: rows }, (_, row) => pattern[row % pattern.length]);
  return { uniforms: { rows, parameter, capacity }, slots, records };
}

/**
 * How a kernel finds what a row's adapter has in the place of one of the model's parameters.
 *
 * @module
 */
import type { UniformType } from "./kernel.ts";
import { floatOf, recordWords } from "./record.ts";

/** Uniform words of such a kernel: rows, which parameter, and how many slots each parameter has. */
export const ownWords = {
  rows: "u32",
  parameter: "u32",
  capacity: "u32",
} as const satisfies Readonly<Record<string, UniformType>>;

/** Documentation of the buffers that such kernels share. */
export const ownDocs = {
  slots: "(rows); capacity or more: no adapter",
  records: "(parameters, capacity, 4): see record.ts",
} as const;

/** WGSL: the record of a row, whose count is 0 where the row's adapter leaves the parameter as it is. */
export const ownRecord = /* wgsl */ `
fn record_of(row: u32) -> vec4u {
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return vec4u(); }
  return records[uniforms.parameter * uniforms.capacity + slot];
}
`;

/** WGSL: where an id stands among the ascending ids of a record; the record's count where it does not. */
export const placeOfId = /* wgsl */ `
fn place_of_id(id: u32, record: vec4u) -> u32 {
  var low = 0u;
  var high = record.z;
  while (low < high) {
    let middle = (low + high) / 2;
    if (tables[record.x + middle] < id) { low = middle + 1; } else { high = middle; }
  }
  if (low < record.z && tables[record.x + low] == id) { return low; }
  return record.z;
}
`;

/** A row whose adapter has something in the parameter's place: the record's words. */
export interface OwnRow {
  readonly row: number;
  /** First words in the tables and in the values. */
  readonly table: number;
  readonly first: number;
  readonly count: number;
  readonly scale: number;
}

/** Every such row. */
export function* ownRows(
  { slots, records }: { readonly slots: ArrayLike<number>; readonly records: ArrayLike<number> },
  { rows, parameter, capacity }: Readonly<Record<keyof typeof ownWords, number>>,
): Generator<OwnRow> {
  for (let row = 0; row < rows; row++) {
    if (slots[row] >= capacity) continue;
    const at = recordWords * (parameter * capacity + slots[row]);
    const count = records[at + 2];
    if (count === 0) continue;
    yield {
      row,
      table: records[at],
      first: records[at + 1],
      count,
      scale: floatOf(records[at + 3]),
    };
  }
}

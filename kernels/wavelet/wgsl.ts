/**
 * WGSL that reads tables of `waveletTable`.
 *
 * @module
 */
import { tableHead } from "./table.ts";

/** A table's parts, and a coefficient of a row of x: declarations; needs the binding `tables`. */
export const filterFunctions = /* wgsl */ `
struct Filters { taps: u32, shift: i32, count: u32, at: u32, offsets: u32, sources: u32 }
fn filters_at(table: u32) -> Filters {
  let taps = tables[table];
  let count = tables[table + 2];
  let at = table + ${tableHead}u;
  let offsets = at + 2 * taps;
  return Filters(taps, i32(tables[table + 1]), count, at, offsets, offsets + count + 1);
}
/** Low taps, then high ones. */
fn tap(filters: Filters, kind: u32, j: u32) -> f32 {
  return bitcast<f32>(tables[filters.at + kind * filters.taps + j]);
}
`;

/**
 * `coefficient_of_NAME(filters, at, length, filter)`: one coefficient of the signal at an element of a binding.
 *
 * @param read An expression for an element of the binding.
 */
export const coefficientFunction = (
  name: string,
  read = (i: string): string => `${name}[${i}]`,
): string => /* wgsl */ `
fn coefficient_of_${name}(filters: Filters, at: u32, length: u32, filter_: u32) -> f32 {
  let begin = i32(filter_ & 0xfffffffeu) - filters.shift;
  let skipped = u32(max(0, -begin));
  let end = u32(clamp(i32(length) - begin, 0, i32(filters.taps)));
  var sum = 0.0;
  for (var j = skipped; j < end; j++) {
    sum += tap(filters, filter_ & 1, j) * ${read("u32(i32(at) + begin + i32(j))")};
  }
  return sum;
}
`;

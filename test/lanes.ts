/**
 * Blocks for rows of a `Runner` whose blocks are of one row: a sequence's rows in a row of the caches' own.
 *
 * @module
 */
import type { BlockTable } from "../src/engine/step_inputs.ts";

const lanes = new Map<number, BlockTable>();

/** Blocks for a sequence of up to 512 tokens that starts at a cache row: the same array at each call. */
export function lane(first: number): BlockTable {
  const known = lanes.get(first) ?? Array.from({ length: 512 }, (_, i) => first + i);
  lanes.set(first, known);
  return known;
}

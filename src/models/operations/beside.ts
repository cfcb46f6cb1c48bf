/**
 * Columns of values that stand side by side in step plans, and apart in whole plans.
 *
 * @module
 */
import type { Tensor } from "../../tensor.ts";
import type { Io, StepIo, Value } from "../graph.ts";

/** Where a value is: a table, the columns of its rows, and the value's first. */
export interface Columns {
  readonly table: Tensor;
  readonly stride: number;
  readonly at: number;
}

/** In a step plan, where `beside` are all values that stand in the table, in their order. */
export function besideIn(io: StepIo, beside: readonly Value[]): (value: Value) => Columns {
  const table = io.together(beside), [, stride] = table.shape;
  return (value) => {
    const before = beside.slice(0, beside.indexOf(value));
    return { table, stride, at: before.reduce((sum, { width }) => sum + width, 0) };
  };
}

/** In a whole plan. */
export function apartIn({ tensor }: Io): (value: Value) => Columns {
  return (value) => ({ table: tensor(value), stride: value.width, at: 0 });
}

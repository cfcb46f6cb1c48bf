/**
 * A projection in a step's plan: its product, and what its rows' adapters do to it.
 *
 * @module
 */
import type { Bank } from "../adapters/bank.ts";
import type { Projection } from "../models/projection.ts";
import type { ProjectionIo } from "../models/graph.ts";
import { linearStep } from "../models/weights.ts";
import type { Plan } from "../plan.ts";
import type { Tensor } from "../tensor.ts";

/** y = or += x W^T + b, with each row's own adapter of the banks. */
export function adaptedProjection(
  projection: Projection,
  { x, y, ...sizes }: ProjectionIo,
  banks: readonly Bank[],
  slotsOf: (bank: Bank) => Tensor,
): Plan {
  const { linears, shape } = projection;
  const adapted = banks.filter((bank) => bank.adapts(linears));
  return [
    linearStep(projection, { x, y }, { ...sizes, ...shape }),
    ...adapted.map((bank) => bank.step(linears, { x, y, rows: sizes.rows, slots: slotsOf(bank) })),
  ];
}

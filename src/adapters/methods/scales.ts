/**
 * The step that scales outputs, for methods that do so after the product.
 *
 * @module
 */
import { scaleOutputs } from "../../../kernels/scale_outputs.ts";
import { type Step, step } from "../../plan.ts";
import type { AfterStep } from "../method.ts";

/**
 * `y[r, o] *= factor[o]` of each row's adapter.
 *
 * @param afterFactors Whether A (count, in) and B (out, count) stand before a module's (out) factors.
 */
export function scaleStep(
  { y, slots, records, values, rows, in: inSize, outs: [out0, out1, out2], linear, capacity }: AfterStep,
  { afterFactors = false } = {},
): Step {
  return step(scaleOutputs, { slots, records, values, y }, {
    ...{ rows, in: inSize, out0, out1, out2, linear, capacity },
    factors: Number(afterFactors),
  });
}

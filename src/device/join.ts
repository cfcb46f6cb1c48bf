/**
 * Neighbours in a plan that a GPU had better run in one launch.
 *
 * @module
 */
import type { Limits } from "../../kernels/kernel.ts";
import { callOf, type Plan, type Step } from "../plan.ts";

/** One step that does the work of two neighbours, where the second's kernel knows of one and both mean the same buffers. */
function join(first: Step, second: Step, limits: Limits): Step | undefined {
  const joined = second.kernel.after?.[first.kernel.name];
  const shared = Object.keys(first.buffers).filter((name) => name in second.buffers);
  if (!joined || shared.some((name) => first.buffers[name] !== second.buffers[name])) return undefined;
  const call = joined(callOf(first), callOf(second), limits);
  return call && { ...call, buffers: { ...first.buffers, ...second.buffers } };
}

/** The plan with such neighbours put together. */
export function joinNeighbours(plan: Plan, limits: Limits): Plan {
  const steps: Step[] = [];
  for (const step of plan) {
    const joined = steps.length > 0 ? join(steps.at(-1)!, step, limits) : undefined;
    if (joined) steps[steps.length - 1] = joined;
    else steps.push(step);
  }
  return steps;
}

/**
 * Fuses adjacent steps of a plan into one launch on a GPU.
 *
 * @module
 */
import { joins } from "../../kernels/joins.ts";
import type { Join, Limits } from "../../kernels/kernel.ts";
import { callOf, type Plan, type Step } from "../plan.ts";

function joinedBy(join: Join, [first, second]: readonly [Step, Step], limits: Limits): Step | undefined {
  if (join.first !== first.kernel.name || join.second !== second.kernel.name) return undefined;
  if (join.same.some(([a, b]) => first.buffers[a] !== second.buffers[b])) return undefined;
  const uniforms = join.uniforms(callOf(first), callOf(second), limits);
  const buffers = Object.entries(join.buffers).map(([name, [call, of]]) =>
    [name, [first, second][call].buffers[of]] as const
  );
  return uniforms && { kernel: join.kernel, buffers: Object.fromEntries(buffers), uniforms };
}

/** The plan with adjacent steps fused where a join says so; a fused step may fuse with its next, too. */
export function joinNeighbours(plan: Plan, limits: Limits): Plan {
  const steps: Step[] = [];
  for (const step of plan) {
    const last = steps.at(-1);
    const joined = last && joins.map((join) => joinedBy(join, [last, step], limits)).find(Boolean);
    if (joined) steps[steps.length - 1] = joined;
    else steps.push(step);
  }
  return steps;
}

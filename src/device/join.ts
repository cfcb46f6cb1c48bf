/**
 * Joins neighbours of a plan, which a GPU then runs in fewer launches. Two calls make one result in parts; the call that
 * reads the result adds the parts up. See kernels/parts.ts.
 *
 * @module
 */
import type { Kernel, Launch, Limits } from "../../kernels/kernel.ts";
import { type Parts, storeParts } from "../../kernels/parts.ts";
import { callOf, type Plan, type Step } from "../plan.ts";

/** What a GPU needs of a kernel to launch it. */
export type Launchable = Pick<Kernel, "name" | "buffers" | "uniforms" | "launch" | "ways">;

/** A step as a GPU runs it. Steps that were joined share scratch: they run one after the other, or not at all. */
export interface GpuStep extends Omit<Step, "kernel"> {
  readonly kernel: Launchable;
}

/** A step with another launch than its kernel's own. */
function withLaunch({ kernel, ...step }: Step, launch: Launch, name: string): GpuStep {
  const { buffers, uniforms } = kernel;
  return { ...step, kernel: { name, buffers, uniforms, launch: () => launch } };
}

/** The parts that two calls make, if their kernels offer that and the calls fit. */
function partsOf(before: Step, step: Step | undefined, limits: Limits): Parts | undefined {
  const produce = step?.kernel.produce;
  if (!produce || produce.after !== before.kernel.name) return undefined;
  if (produce.same.some(([a, b]) => before.buffers[a] !== step.buffers[b])) return undefined;
  return produce.parts(callOf(before), callOf(step), limits);
}

/** The step that reads a result in parts, if its kernel offers that and the call fits. */
function readerOf(next: Step | undefined, made: Step, parts: Parts, limits: Limits): GpuStep | undefined {
  const consume = next?.kernel.consume, { result } = made.kernel.produce!;
  if (!consume || next.buffers[consume.buffer] !== made.buffers[result]) return undefined;
  const launch = consume.launch(callOf(next), limits, parts);
  if (!launch) return undefined;
  const scratch = { ...parts.launch.scratch, ...launch.scratch };
  const read = Object.entries(parts.reads ?? {}).map(([name, buffer]) => [name, made.buffers[buffer]]);
  const step = { ...next, buffers: { ...Object.fromEntries(read), ...next.buffers } };
  return withLaunch(step, { ...launch, scratch }, next.kernel.name);
}

/** The step that makes parts, and stores the result itself where no other reads it. */
function makerOf(before: Step, made: Step, parts: Parts, store: boolean, limits: Limits): GpuStep {
  const { kernel } = made, { takes, result } = kernel.produce!;
  const taken = Object.fromEntries(takes.map((name) => [name, before.buffers[name]]));
  const sum = store ? [storeParts(parts, result, { uniforms: kernel.uniforms, limits })] : [];
  const launch = { ...parts.launch, dispatches: [...parts.launch.dispatches, ...sum] };
  const read = Object.entries(parts.reads ?? {}).map(([name, buffer]) => [name, made.buffers[buffer]]);
  const step = { ...made, buffers: { ...taken, ...Object.fromEntries(read), ...made.buffers } };
  return withLaunch(step, launch, `${before.kernel.name} + ${kernel.name}`);
}

/** The plan with neighbours joined. */
export function joinNeighbours(plan: Plan, limits: Limits): readonly GpuStep[] {
  const steps: GpuStep[] = [];
  for (let i = 0; i < plan.length; i++) {
    const [step, made, next] = plan.slice(i, i + 3);
    const parts = partsOf(step, made, limits);
    if (!parts) {
      steps.push(step);
      continue;
    }
    const reader = readerOf(next, made, parts, limits);
    steps.push(makerOf(step, made, parts, reader === undefined, limits), ...(reader ? [reader] : []));
    i += reader ? 2 : 1;
  }
  return steps;
}

/**
 * Reverse mode over plans: a forward's steps, in reverse, by what their kernels say of their backward.
 *
 * @module
 */
import { fill } from "../../kernels/fill.ts";
import type { Device } from "../device/device.ts";
import type { WholeStep } from "../models/graph.ts";
import { type Step, step } from "../plan.ts";
import { elements, type Tensor } from "../tensor.ts";

/** A forward step that says itself how gradients pass it, in place of its kernel's own rule. */
export interface TrainStep extends WholeStep {
  /** For steps with parameters: writes their gradients, and adds to its inputs' through `tape`. */
  readonly backward?: (tape: Tape) => readonly Step[];
}

/**
 * The gradients of a forward's activations while its backward is written: a tensor for each activation whose gradient is
 * alive, given back for the next one of its size when the activation's own step has passed.
 */
export class Tape {
  readonly #live = new Map<Tensor, Tensor>();
  readonly #free = new Map<number, Tensor[]>();
  readonly #made: Tensor[] = [];

  constructor(private readonly device: Pick<Device, "alloc" | "release">) {}

  /** The gradient of an activation; undefined while nothing has reached it. */
  gradient(t: Tensor): Tensor | undefined {
    return this.#live.get(t);
  }

  /** Where to put (part of) an activation's gradient. `fresh`: nothing is there yet, so it must be overwritten. */
  target(t: Tensor): { readonly gradient: Tensor; readonly fresh: boolean } {
    const known = this.#live.get(t);
    if (known) return { gradient: known, fresh: false };
    const count = elements(t.shape);
    const gradient = this.#free.get(count)?.pop() ?? this.#alloc(count);
    this.#live.set(t, gradient);
    return { gradient, fresh: true };
  }

  /** A gradient to add to: zeroed by the steps returned, if nothing was there. */
  sum(t: Tensor): { readonly gradient: Tensor; readonly steps: readonly Step[] } {
    const { gradient, fresh } = this.target(t);
    return {
      gradient,
      steps: fresh ? [step(fill, { y: gradient }, { count: elements(t.shape), value: 0 })] : [],
    };
  }

  /** The activation's own step has passed: its gradient is used up. */
  end(t: Tensor): void {
    const gradient = this.#live.get(t);
    if (!gradient) return;
    this.#live.delete(t);
    const count = elements(t.shape);
    this.#free.set(count, [...this.#free.get(count) ?? [], gradient]);
  }

  /** A plan is complete: the tensors of all gradients serve the next plan. */
  clear(): void {
    for (const t of [...this.#live.keys()]) this.end(t);
  }

  release(): void {
    for (const t of this.#made) this.device.release(t);
  }

  #alloc(count: number): Tensor {
    const made = this.device.alloc([count], "float32");
    this.#made.push(made);
    return made;
  }
}

/** The backward of a step by its kernel's own rule. */
export function kernelBackward({ forward, also = {} }: TrainStep, tape: Tape): readonly Step[] {
  const { kernel, buffers, uniforms } = forward;
  const rule = kernel.backward?.(uniforms);
  if (!rule) {
    throw new TypeError(`Cannot differentiate a step of kernel "${kernel.name}": it has no backward`);
  }
  const steps: Step[] = [];
  for (const part of rule.steps) {
    const bound: Record<string, Tensor> = {};
    for (const [name, of] of Object.entries(part.values)) bound[name] = buffers[of] ?? also[of];
    for (const [name, of] of Object.entries(part.gradients)) bound[name] = tape.target(buffers[of]).gradient;
    let accumulate = part.uniforms.accumulate;
    for (const [name, { of, mode }] of Object.entries(part.targets)) {
      if (mode === "add") {
        const { gradient, steps: zero } = tape.sum(buffers[of]);
        steps.push(...zero);
        bound[name] = gradient;
        continue;
      }
      const { gradient, fresh } = tape.target(buffers[of]);
      if (mode === "write" && !fresh) {
        throw new TypeError(
          `Cannot add to the gradient of "${of}" of kernel "${kernel.name}": its backward overwrites it`,
        );
      }
      if (mode === "accumulate") accumulate = Number(!fresh);
      bound[name] = gradient;
    }
    const words = accumulate === undefined ? part.uniforms : { ...part.uniforms, accumulate };
    steps.push(step(part.kernel, bound, words));
  }
  for (const name of rule.overwritten) tape.end(buffers[name]);
  return steps;
}

/**
 * The backward of steps that ran in order. The gradients of their last outputs must be on the tape; afterwards those of
 * their first inputs are.
 */
export function backward(steps: readonly TrainStep[], tape: Tape): Step[] {
  return steps.toReversed().flatMap((s) => s.backward ? s.backward(tape) : kernelBackward(s, tape));
}

/**
 * Work as data: a step is a kernel, the tensors it works on and its uniform words. Nothing here acts.
 *
 * @module
 */
import type { Call, Kernel } from "../kernels/kernel.ts";
import type { Tensor } from "./tensor.ts";

/** One kernel call. Buffers are tensors of the device that will run it. */
export interface Step {
  readonly kernel: Kernel;
  readonly buffers: Readonly<Record<string, Tensor>>;
  readonly uniforms: Readonly<Record<string, number>>;
}

/** Steps in the order they run. */
export type Plan = readonly Step[];

/**
 * A step, with its buffer and uniform names checked against the kernel by the compiler.
 *
 * @throws TypeError when a tensor is missing, or its dtype is not one the kernel accepts.
 */
export function step<B extends string, U extends string>(
  kernel: Kernel<B, U>,
  buffers: Readonly<Record<B, Tensor>>,
  uniforms: Readonly<Record<U, number>>,
): Step {
  for (const name in kernel.buffers) {
    const accepted = kernel.buffers[name].dtypes;
    if (!buffers[name]) throw new TypeError(`Cannot run ${kernel.name} without its buffer "${name}"`);
    if (!accepted.includes(buffers[name].dtype)) {
      throw new TypeError(
        `Cannot bind "${name}" of ${kernel.name} as ${buffers[name].dtype}: it takes ${
          accepted.join(" or ")
        }`,
      );
    }
  }
  return { kernel: kernel as unknown as Kernel, buffers, uniforms };
}

/** What a step's launch depends on. */
export function callOf({ uniforms, buffers }: Omit<Step, "kernel">): Call {
  return {
    uniforms,
    dtypes: Object.fromEntries(Object.entries(buffers).map(([name, { dtype }]) => [name, dtype])),
  };
}

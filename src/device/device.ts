/**
 * The one place where work happens: a device owns tensors and runs plans.
 *
 * @module
 */
import type { DType, Limits } from "../../kernels/kernel.ts";
import type { Plan } from "../plan.ts";
import type { HostTensor, Tensor, TypedArray } from "../tensor.ts";

/** A plan made ready on a device: pipelines, bindings and uniforms are in place. */
export interface Program {
  /** Number of kernel launches a run costs. */
  readonly launches: number;
  /** Frees what preparing took; the plan's tensors stay. */
  release(): void;
}

/** Runs plans on tensors. Everything above this interface works on any device. */
export interface Device {
  readonly kind: "cpu" | "webgpu";
  /** One line for a log: what the device is. */
  readonly description: string;
  readonly limits: Limits;
  /** Copies a host tensor to the device. A CPU widens float16 and bfloat16 to float32. */
  upload(source: HostTensor): Tensor;
  /** A zeroed tensor. */
  alloc(shape: readonly number[], dtype: DType): Tensor;
  /** Overwrites elements `[at, at + data.length)` of a tensor of this device, in order with runs. */
  write(target: Tensor, data: TypedArray, at?: number): void;
  /** Checks a plan and makes it ready; the same program can run any number of times. */
  prepare(plan: Plan): Promise<Program>;
  /** Runs a program; on a GPU this submits once and returns at once. Throws when the device was lost. */
  run(program: Program): void;
  /** The elements of a tensor (a copy), after all that was run before. `range` counts elements. */
  read(source: Tensor, range?: { readonly at: number; readonly count: number }): Promise<TypedArray>;
  /** Frees a tensor made by `upload` or `alloc`. */
  release(t: Tensor): void;
  /** Frees everything; the device cannot be used after it. */
  destroy(): void;
}

/** No usable device, or one that went away. The message says what to do about it. */
export class DeviceError extends Error {
  override readonly name = "DeviceError";
}

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

/** Elements of a tensor: `count` of them from `at` on. */
export interface Range {
  readonly at: number;
  readonly count: number;
}

/** One launch of a program that was run; microseconds from the program's begin. */
export interface TracedLaunch {
  readonly kernel: string;
  /** Workgroups; absent on a CPU. */
  readonly grid?: readonly [number, number, number];
  readonly beginUs: number;
  readonly endUs: number;
}

/** A program's launches, by the clock of the GPU or of the host. */
export interface Trace {
  readonly clock: "gpu" | "host";
  readonly launches: readonly TracedLaunch[];
  /** Microseconds of the whole program as `run` runs it: with the gaps it really has. */
  readonly wholeUs: number;
}

/**
 * What a tensor is uploaded for: a `weight` is a matrix that products and lookups read, step after step. Other kernels may
 * read it as well, at less speed.
 */
export type TensorUse = "weight";

/** Runs plans on tensors. Everything above this interface works on any device. */
export interface Device {
  readonly kind: "cpu" | "webgpu";
  /** One line for a log: what the device is. */
  readonly description: string;
  readonly limits: Limits;
  /** Bytes a tensor may have. */
  readonly maxTensorBytes: number;
  /**
   * Bytes of so many that can be allocated now: as many, or fewer where the memory ends before. They are allocated, and
   * freed again. Left out where a device cannot tell.
   */
  roomFor?(bytes: number): Promise<number>;
  /**
   * The element type that a tensor of a host's has here; that of the most bytes where it depends on the numbers. Left out
   * where every tensor keeps its own.
   */
  heldType?(dtype: DType, use?: TensorUse): DType;
  /**
   * Whether to pad steps to a few sizes: on a GPU, preparing a new size costs more than idle rows. On a CPU each row
   * costs, and preparing costs nothing.
   */
  readonly prefersFewSizes: boolean;
  /** Whether `prepare` times kernels when it meets sizes of a class that is new: that takes long, once. Default false. */
  readonly tunes?: boolean;
  /**
   * Whether `run` returns before the work is done: submitting the next run before results are read keeps the device
   * busy.
   */
  readonly runsAhead: boolean;
  /**
   * Copies a host tensor to the device. A CPU widens float16 and bfloat16 to float32. A weight whose numbers are all
   * bfloat16's stays 16 bits there.
   */
  upload(source: HostTensor, use?: TensorUse): Tensor;
  /** A zeroed tensor. */
  alloc(shape: readonly number[], dtype: DType): Tensor;
  /** Overwrites elements `[at, at + data.length)` of a tensor of this device, in order with runs. */
  write(target: Tensor, data: TypedArray, at?: number): void;
  /** Copies a tensor's elements to the begin of another of this device and of its dtype, in order with runs. */
  copy(source: Tensor, target: Tensor): void;
  /** Checks a plan and makes it ready; the same program can run any number of times. */
  prepare(plan: Plan): Promise<Program>;
  /** Runs a program; where the device runs ahead this submits once and returns at once. Throws when the device was lost. */
  run(program: Program): void;
  /** The elements of a tensor (a copy), after all that was run before; all of them without a range. */
  read(source: Tensor, range?: Range): Promise<TypedArray>;
  /** `run`, then `read`, in one submit. */
  runAndRead(program: Program, source: Tensor, range?: Range): Promise<TypedArray>;
  /**
   * Runs a program and says what each launch took. On a GPU every launch has a pass of its own, or is waited for where
   * the GPU has no timestamps. A launch's own time is right; the sum is more than a run takes.
   */
  trace(program: Program): Promise<Trace>;
  /** Frees a tensor made by `upload` or `alloc`. */
  release(t: Tensor): void;
  /** Frees everything; the device cannot be used after it. */
  destroy(): void;
}

/** No usable device, or one that went away. The message says what to do about it. */
export class DeviceError extends Error {
  override readonly name = "DeviceError";
}

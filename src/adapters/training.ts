/**
 * How a method is trained: the options of its new adapters, and the gradient steps of its modules.
 *
 * @module
 */
import type { Step } from "../plan.ts";
import type { HostTensor, Tensor } from "../tensor.ts";
import type { AdapterModule, LinearShape } from "./method.ts";

/** A number that a new adapter is made with. */
export interface OptionSpec {
  /** A whole number, or any of 0 or more. */
  readonly kind: "count" | "number";
  /** The least it may be; 0 unless told. */
  readonly least?: number;
  readonly default: number;
  /** A few words for the command line's help. */
  readonly doc: string;
}

/** How a method's new adapters are made. */
export interface MethodTraining {
  /**
   * By the names of PEFT's config fields (`n_frequency`). `train()` takes them as `nFrequency`, the command line as
   * `--n-frequency`.
   */
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** The highest learning rate, unless told. */
  readonly learningRate: number;
  /** A new module, to be trained from its start; `options` has every option, by PEFT's names. */
  create(
    shape: LinearShape,
    options: Readonly<Record<string, number>>,
    /** Uniform random numbers in [0, 1) for first values. */
    random: () => number,
  ): AdapterModule;
  /** Fields of adapter_config.json beside PEFT's common ones: the options, and what else PEFT needs to load it. */
  configFields(options: Readonly<Record<string, number>>): Readonly<Record<string, unknown>>;
}

/** Where a module's numbers lie while it is trained, and the tensors of its linear. */
export interface TrainIo {
  readonly x: Tensor;
  readonly y: Tensor;
  readonly rows: number;
  /** (rows), uint32 zeros: every row has the one adapter. */
  readonly slots: Tensor;
  /** All trained numbers, and their gradients, of all modules; this module's start at element `at`. */
  readonly params: Tensor;
  readonly gradients: Tensor;
  readonly at: number;
}

/** The same after the product: `y` is t, the product with everything beside it. */
export interface TrainAfterIo extends TrainIo {
  /** y (rows, out) = x W^T of the linear's own weight, for any x; no bias. */
  product(io: { readonly x: Tensor; readonly y: Tensor; readonly rows: number }): Step;
}

/** A phase of a module that is trained. */
export interface TrainablePhase<Io, Gradients> {
  forward(io: Io): readonly Step[];
  /** Adds to the module's gradients. */
  backward(io: Io & Gradients): readonly Step[];
}

/** A module being trained. */
export interface TrainableModule {
  /** The numbers that are trained, as they are at the start. */
  readonly values: Float32Array;
  /** y += x dW^T. The backward adds to dx, which is zeroed or holds other parts; dy is only read. */
  readonly beside?: TrainablePhase<TrainIo, { readonly dy: Tensor; readonly dx: Tensor }>;
  /** Changes t in place. The backward is given t as it was, and turns dy, the result's gradient, into t's in place. */
  readonly after?: TrainablePhase<TrainAfterIo, { readonly dy: Tensor }>;
  /** PEFT's tensors of the numbers, by what follows the module's path. */
  tensors(values: Float32Array): ReadonlyMap<string, HostTensor>;
}

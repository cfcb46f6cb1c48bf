/**
 * How a method is trained: the options of its new adapters, and the gradient steps of its modules.
 *
 * @module
 */
import type { Step } from "../plan.ts";
import type { HostTensor, Tensor } from "../tensor.ts";
import type { AdapterModule, LinearShape } from "./method.ts";

/** A number that a new adapter is made with. */
export interface NumberSpec {
  /** A whole number, or any of 0 or more. */
  readonly kind: "count" | "number";
  /** The least it may be; 0 unless told. */
  readonly least?: number;
  readonly default: number;
  /** A few words for the command line's help. */
  readonly doc: string;
}

/** One word of a few, whether something is done, or names of linears, that a new adapter is made with. */
export type WordSpec =
  & { readonly doc: string }
  & (
    | { readonly kind: "choice"; readonly choices: readonly string[]; readonly default: string }
    | { readonly kind: "flag"; readonly default: boolean }
    | { readonly kind: "names"; readonly default: readonly string[] }
  );

/** An option of new adapters. */
export type OptionSpec = NumberSpec | WordSpec;

/** The value of an option, of the type of its default. */
export type OptionValue = OptionSpec["default"];

/** What a new module is made with, beside its options. */
export interface NewModule {
  /** The path of its linear. */
  readonly path: string;
  /** What the adapter's config has as `target_modules`. */
  readonly targetModules: readonly string[];
  /** The shapes of all linears that the adapter is made for. */
  readonly shapes: readonly LinearShape[];
  /** Uniform random numbers in [0, 1) for first values. */
  readonly random: () => number;
  /** What all modules of the adapter share: made for the first that asks. */
  shared<T>(make: () => T): T;
}

/** How a method's new adapters are made. */
export interface MethodTraining {
  /**
   * By the names of PEFT's config fields (`n_frequency`). `train()` takes them as `nFrequency`, the command line as
   * `--n-frequency`.
   */
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** The highest learning rate, unless told: a number, or a rule where the best one depends on the adapter's size. */
  readonly learningRate: number | {
    /** The rule in words and PEFT's names of options. */
    readonly doc: string;
    /** `options` has every option, by PEFT's names. */
    of(options: Readonly<Record<string, OptionValue>>): number;
  };
  /**
   * Whether new modules have frozen numbers that were worked out: a run that goes on takes them from its checkpoint, as
   * another device may round them otherwise.
   */
  readonly frozen?: boolean;
  /** A new module, to be trained from its start; `options` has every option, by PEFT's names. */
  create(
    shape: LinearShape,
    options: Readonly<Record<string, OptionValue>>,
    io: NewModule,
  ): AdapterModule;
  /**
   * Fields of adapter_config.json beside PEFT's common ones: the options, and what else PEFT needs to load it.
   * `linears` are those that the adapter is made for.
   */
  configFields(
    options: Readonly<Record<string, OptionValue>>,
    targetModules: readonly string[],
    linears: readonly { readonly path: string; readonly shape: LinearShape }[],
  ): Readonly<Record<string, unknown>>;
}

/** Where a module's numbers lie while it is trained, and what its linear reads. */
export interface TrainBeforeIo {
  readonly x: Tensor;
  readonly rows: number;
  /** (rows), uint32 zeros: every row has the one adapter. */
  readonly slots: Tensor;
  /** All trained numbers, and their gradients, of all modules; this module's start at element `at`. */
  readonly params: Tensor;
  readonly gradients: Tensor;
  readonly at: number;
  /** Where the numbers start that the module shares with others; 0 where it shares none. */
  readonly sharedAt: number;
  /**
   * A tensor to work in, float32: the same for each name and number of elements, of all modules. What it holds is lost
   * when the phase's steps have passed.
   */
  scratch(name: string, shape: readonly number[]): Tensor;
}

/** The same beside the product. */
export interface TrainIo extends TrainBeforeIo {
  readonly y: Tensor;
  /** y (rows, out) = x W^T of the linear's own weight, for any x; no bias. */
  product(io: { readonly x: Tensor; readonly y: Tensor; readonly rows: number }): Step;
  /** dx (rows, in) += dy W of the linear's own weight, for any dy. */
  productBackward(io: { readonly dy: Tensor; readonly dx: Tensor; readonly rows: number }): Step;
}

/** The same after the product: `y` is t, the product with everything beside it. */
export type TrainAfterIo = TrainIo;

/** A phase of a module that is trained. */
export interface TrainablePhase<Io, Gradients> {
  forward(io: Io): readonly Step[];
  /** Adds to the module's gradients. */
  backward(io: Io & Gradients): readonly Step[];
}

/** Numbers of several modules together. */
export interface SharedNumbers {
  /** Those that are trained, as they are at the start; none where all are frozen. */
  readonly values: Float32Array;
  /** Tensors by their full names in the adapter's file. */
  tensors(values: Float32Array): ReadonlyMap<string, HostTensor>;
}

/** A module being trained. */
export interface TrainableModule {
  /** The numbers that are trained, as they are at the start. */
  readonly values: Float32Array;
  /** Numbers of several modules, which all give this very object: they stand once, and all gradients add up in them. */
  readonly shared?: SharedNumbers;
  /** Changes x in place. The backward is given x as it was, and turns dx, the result's gradient, into x's in place. */
  readonly before?: TrainablePhase<TrainBeforeIo, { readonly dx: Tensor }>;
  /** y += x dW^T. The backward adds to dx, which is zeroed or holds other parts; dy is only read. */
  readonly beside?: TrainablePhase<TrainIo, { readonly dy: Tensor; readonly dx: Tensor }>;
  /** Changes t in place. The backward is given t as it was, and turns dy, the result's gradient, into t's in place. */
  readonly after?: TrainablePhase<TrainAfterIo, { readonly dy: Tensor }>;
  /** The module's own tensors, by what follows its path. */
  tensors(values: Float32Array): ReadonlyMap<string, HostTensor>;
}

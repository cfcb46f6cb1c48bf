/**
 * What an adapter method is to the rest of the house: how its files are read, what it keeps on a device, and which step
 * adds it to a linear layer. A new method is one file in `methods/` and one line in its list.
 *
 * @module
 */
import type { Step } from "../plan.ts";
import type { HostTensor, Tensor } from "../tensor.ts";

/** Sizes of a linear layer's weight (out, in). */
export interface LinearShape {
  readonly out: number;
  readonly in: number;
}

/** The choices a PEFT file leaves to its reader. */
export interface ReadOptions {
  /** Which torch.randperm drew frequencies of layers with 214748364 or more elements; the file does not say. */
  readonly torch?: ">=2.6" | "<=2.5";
}

/** A parsed adapter folder: config fields, and tensors by their full names. */
export interface AdapterFiles {
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, HostTensor>;
  readonly options: ReadOptions;
}

/** What one adapted module keeps on a device: arena words, found again through its record. */
export interface Packed {
  /** The module's own numbers. */
  readonly values: Float32Array;
  /** Words that modules with an equal key share, here and in other adapters. */
  readonly table?: { readonly key: string; readonly words: () => Uint32Array };
  /** The record's third word: coefficients, rank; 0 adds nothing. */
  readonly count: number;
  readonly scale: number;
}

/** The tensors and words of a step over a bank of adapters, for one to three linears that share x. */
export interface BankStep {
  readonly x: Tensor;
  /** (rows, sum of outs): the linears' outputs stand side by side. */
  readonly y: Tensor;
  readonly slots: Tensor;
  readonly records: Tensor;
  readonly tables: Tensor;
  readonly values: Tensor;
  readonly rows: number;
  readonly in: number;
  /** 0 for a second and third linear that is not there. */
  readonly outs: readonly [number, number, number];
  /** The first linear's index in the bank; the others follow it. */
  readonly layer: number;
  readonly capacity: number;
}

/** What happens to a weight that dW meets. */
export type DeltaMode = "write" | "add" | "subtract";

/** Rows of dW: `count` of them from row `first` on, row 0 after the last. */
export interface DeltaRows {
  readonly first: number;
  readonly count: number;
}

/** What a step of dW is given: a weight (rows.count, in), and which rows of dW it takes. */
export interface DeltaIo {
  readonly upload: (t: HostTensor) => Tensor;
  readonly weight: Tensor;
  readonly mode: DeltaMode;
  readonly rows: DeltaRows;
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

/** A module being trained; its numbers are in the order of `pack().values`. */
export interface TrainableModule {
  /** y += x dW^T. */
  forward(io: TrainIo): Step;
  /** Adds to the module's gradients and to dx; dy is only read. `dx` is already zeroed or holds other parts. */
  backward(io: TrainIo & { readonly dy: Tensor; readonly dx: Tensor }): readonly Step[];
  /** PEFT's tensors of the numbers, by what follows the module's path. */
  tensors(values: Float32Array): ReadonlyMap<string, HostTensor>;
}

/** One adapted module, as its method read it; only the method looks inside. */
export interface AdapterModule {
  /** Trained numbers. */
  readonly parameters: number;
  /** One line for people, e.g. `n = 1000, seed 777, scaling 150`. */
  readonly summary: string;
  /** Throws RangeError when the module cannot belong to a linear of this shape. */
  check(path: string, shape: LinearShape): void;
  /** What a bank stores for a linear of this shape. */
  pack(shape: LinearShape): Packed;
  /**
   * The step that writes rows of dW (out, in), float32, to `weight`, or adds or subtracts them there.
   *
   * `upload` copies a host tensor to the device that will run the step.
   */
  deltaStep(shape: LinearShape, io: DeltaIo): Step;
  /** The module made ready to train on the device that `upload` copies to; absent for methods that cannot be trained. */
  trainable?(shape: LinearShape, upload: (t: HostTensor) => Tensor): TrainableModule;
  /** The frequencies and coefficients of a spectral method, for pictures; absent for others. */
  spectrum?(
    shape: LinearShape,
  ): { readonly u: Uint32Array; readonly v: Uint32Array; readonly c: Float32Array };
}

/** What a new adapter is made of, by PEFT's names. */
export interface TrainingConfig {
  /** FourierFT: coefficients a module, default 1000 (or all there are). */
  readonly nFrequency?: number;
  /** FourierFT: default 150. */
  readonly scaling?: number;
  /** FourierFT: seed of the frequencies, default 777. */
  readonly randomLocSeed?: number;
  /** LoRA: rank, default 8. */
  readonly r?: number;
  /** LoRA: default 8. */
  readonly loraAlpha?: number;
  /** Uniform random numbers in [0, 1) for first values. */
  readonly random: () => number;
}

/** An adapter method. */
export interface Method {
  /** PEFT's `peft_type`. */
  readonly peftType: string;
  /**
   * Reads the adapted modules by path (`model.layers.0.self_attn.q_proj`), in the file's order. Given no tensors it checks
   * the config alone.
   *
   * @throws ConfigError that names the field or tensor and the rule.
   */
  read(files: AdapterFiles): ReadonlyMap<string, AdapterModule>;
  /** A new module for a linear, to be trained from its start; `options` are the fields of PEFT's config. */
  create?(shape: LinearShape, options: TrainingConfig): AdapterModule;
  /** The config fields beside PEFT's common ones that `create` used. */
  configFields?(options: TrainingConfig): Readonly<Record<string, unknown>>;
  /** `y += x dW^T` of each row's adapter, for each linear in its columns of y. */
  step(bank: BankStep): Step;
}

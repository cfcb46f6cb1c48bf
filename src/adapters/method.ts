/**
 * An adapter method, as the rest of the house sees it. A method reads its files, packs its numbers for a device, and gives
 * the steps that act on a linear. A new method is one file in `methods/` and one line in its list, or a caller's value.
 *
 * @module
 */
import type { Plan, Step } from "../plan.ts";
import type { DType, HostTensor, Tensor } from "../tensor.ts";
import type { Replacements } from "./replacements.ts";
import type { MethodTraining, TrainableModule } from "./training.ts";

/** Sizes of a linear layer's weight (out, in). */
export interface LinearShape {
  readonly out: number;
  readonly in: number;
}

/** The choices a PEFT file leaves to its reader. */
export interface ReadOptions {
  /** Which torch.randperm drew frequencies of layers with 214748364 or more elements; the file does not say. */
  readonly torch?: ">=2.6" | "<=2.5";
  /** The shapes of the base model's linears, by path: VeRA's seeds draw for the largest. */
  readonly shapeOf?: (path: string) => LinearShape | undefined;
  /** The places of the base model's linears in the model's order, by path: TinyLoRA's seeds and groups go by the order. */
  readonly placeOf?: (path: string) => number | undefined;
  /**
   * The base model's name of a module that an adapter names; undefined for one that nothing in the model reads. By default
   * names are the model's. Paths given to `shapeOf` and `placeOf` are the model's.
   */
  readonly pathOf?: (path: string) => string | undefined;
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

/**
 * When a method acts on a linear t = x W^T: on x before the product, beside it (t += x dW^T), or on t after it.
 *
 * A phase is one step for a whole batch. Rows without an adapter of the method stay as they are, so adapters of any
 * methods share a batch.
 */
export type Phase = "before" | "beside" | "after";

/** The tensors and words of a step over a bank of adapters, for one to three linears that share x. */
export interface BankTensors {
  /** (rows), uint32: each row's slot in the bank, or `noSlot`. */
  readonly slots: Tensor;
  readonly records: Tensor;
  readonly tables: Tensor;
  readonly values: Tensor;
  readonly rows: number;
  readonly in: number;
  /** 0 for a second and third linear that is not there. */
  readonly outs: readonly [number, number, number];
  /** The first linear's number in the bank; the others follow it. */
  readonly linear: number;
  readonly capacity: number;
}

/** A step before the product: it changes x (rows, in) in place, for one linear alone. */
export interface BeforeStep extends BankTensors {
  readonly x: Tensor;
}

/** The same step for all linears that share x, whose inputs it makes. */
export interface BeforeAllStep extends BankTensors {
  /** (rows, in), only read. */
  readonly x: Tensor;
  /** (linears, rows, in), written: x as the adapters change it for each linear. */
  readonly y: Tensor;
}

/** A step beside the product. */
export interface BesideStep extends BankTensors {
  readonly x: Tensor;
  /** (rows, sum of outs), added to: the linears' outputs stand side by side. */
  readonly y: Tensor;
}

/** A step after the product. */
export interface AfterStep extends BankTensors {
  /** (rows, sum of outs), changed in place: products with everything beside them. */
  readonly y: Tensor;
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

/**
 * The weight of one of the base model's linears, for methods that act on it. Linears that share an input are one product,
 * whose outputs stand side by side.
 */
export interface BaseLinear {
  /** Those linears' shapes, and which of them it is. */
  readonly shapes: readonly LinearShape[];
  readonly index: number;
  /** The weight's dtype; absent where it is stored in blocks of integers. */
  readonly dtype?: DType;
  /** y (rows, sum of outs) = x W^T, or += where `accumulate` is true; no bias. */
  product(
    io: { readonly x: Tensor; readonly y: Tensor; readonly rows: number; readonly accumulate?: boolean },
  ): Step;
  /** dx (rows, in) += dy W, with dy (rows, sum of outs): the gradient of the product's input. */
  productBackward(io: { readonly dy: Tensor; readonly dx: Tensor; readonly rows: number }): Step;
  /** y (count, in), float32 = the linear's own rows from `first` on, of any weight format. `upload` is as in `DeltaIo`. */
  rows(
    io: {
      readonly upload: (t: HostTensor) => Tensor;
      readonly y: Tensor;
      readonly first: number;
      readonly count: number;
    },
  ): Step;
  /** (out), float32: the sum of squares of each of the linear's own rows. */
  squares(): Promise<Float32Array>;
  /** (out, in), float32, row-major: the linear's own rows, of any weight format. */
  weight(): Promise<Float32Array>;
  /** The weight's decomposition, made once when it is first asked for and then kept on the host. */
  singular(): Promise<SingularFactors>;
}

/** W = U diag(s) V^T with n = min(out, in), computed in float64. The signs of pairs of vectors follow from W's numbers alone. */
export interface SingularFactors {
  /** (n), descending. */
  readonly s: Float64Array;
  /** V^T (n, in), then U (out, n), row-major, each number rounded once. */
  readonly factors: Float32Array;
}

/** A device for work that ends: whoever lent it frees the tensors made on it. */
export interface Workspace {
  upload(t: HostTensor): Tensor;
  alloc(shape: readonly number[]): Tensor;
  /** Runs a plan, then reads a tensor. */
  read(plan: Plan, t: Tensor): Promise<Float32Array>;
}

/** What a module is made ready with. */
export interface ReadyIo {
  /** The module's path, for messages. */
  readonly path: string;
  readonly base: BaseLinear;
  readonly workspace: Workspace;
}

/** The factors of one linear: dW = scale B A. */
export interface Factors {
  /** (rank, in), row-major. */
  readonly a: Float32Array;
  /** (out, rank), row-major. */
  readonly b: Float32Array;
  readonly rank: number;
  readonly in: number;
  readonly out: number;
  readonly scale: number;
}

/** One adapted module, as its method read it; only the method looks inside. */
export interface AdapterModule {
  /** Trained numbers. */
  readonly parameters: number;
  /** One line for people, e.g. `n = 1000, seed 777, scaling 150`. */
  readonly summary: string;
  /** The linear's shape, where the module's own numbers say it. */
  readonly shape?: LinearShape;
  /** (out): added to each row beside the product, scaled. */
  readonly bias?: Float32Array;
  /**
   * Throws RangeError when the module cannot belong to a linear of this shape, ConfigError when its numbers would be past
   * float32 there.
   */
  check(path: string, shape: LinearShape): void;
  /** What a bank stores for a linear of this shape. */
  pack(shape: LinearShape): Packed;
  /** The phases that the module takes part in; by default all of its method's. */
  readonly phases?: readonly Phase[];
  /**
   * The module made ready with its base's weight, or by work too long for `read`; absent where it needs neither. Only the
   * result can be packed or trained. It may be made ready anew, with another base.
   *
   * @throws ConfigError that names the module and the rule, where the two do not go together.
   */
  ready?(io: ReadyIo): Promise<AdapterModule>;
  /**
   * A faster way to dW than the method's phases of unit rows. The step writes rows of dW (out, in), float32, to `weight`,
   * or adds or subtracts them there. `upload` copies a host tensor to the device that will run the step.
   */
  deltaStep?(shape: LinearShape, io: DeltaIo): Step;
  /**
   * The module made ready to train on the device that `upload` copies to, each tensor once; absent for methods that cannot
   * be trained.
   */
  trainable?(shape: LinearShape, upload: (t: HostTensor) => Tensor): TrainableModule;
  /**
   * The places (u, v) and coefficients c of a method whose dW is a transform; absent for others. FourierFT's dW is the real
   * part of their unscaled inverse transform, times `scale`. `wavelet` names the wavelet of a wavelet transform; it is absent
   * where places are frequencies.
   */
  spectrum?(
    shape: LinearShape,
  ): {
    readonly u: Uint32Array;
    readonly v: Uint32Array;
    readonly c: Float32Array;
    readonly scale: number;
    readonly wavelet?: string;
  };
  /** The coefficients of a spectral method as its file has them; absent where no file could. */
  readonly coefficients?: Float32Array;
  /** The factors of dW = scale B A, for methods that are served as such; absent for others. */
  factors?(shape: LinearShape): Factors;
  /**
   * The module with dW times a scale, for methods that take scales (`takesScale`); a module that is made ready has it then.
   *
   * @throws ConfigError, from here or from the result's `check`, where its numbers would be past float32.
   */
  times?(scale: number): AdapterModule;
}

/** A module of a sum, and what its dW is multiplied by. */
export interface Term {
  readonly module: AdapterModule;
  readonly scale: number;
}

/** An adapter of a sum that is written as files. */
export interface Summand {
  /** Its name, for messages. */
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** By path. */
  readonly modules: ReadonlyMap<string, AdapterModule>;
  /** What its dW is multiplied by. */
  readonly weight: number;
}

/** What a method may need of the base model to write a sum. */
export interface CombineIo {
  /** The shapes of the base model's linears, by path; absent where no model is known. */
  readonly shapeOf?: (path: string) => LinearShape | undefined;
}

/** A sum as PEFT's files have it: the method's own fields of the config, and tensors by their full names. */
export interface CombinedFiles {
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, HostTensor>;
}

/** What the table of methods (docs/methods.md) says of a method that its code cannot tell; sizes are out, in, r and so on. */
export interface MethodFacts {
  /** The tensors of one linear by PEFT's names, with their sizes: `lora_A.weight (r, in)`. */
  readonly tensors: readonly string[];
  /** What the method makes of W, x or y: `dW = s B A`. */
  readonly formula: string;
  /** Multiplications for a row of one linear, beside the out in of W. */
  readonly cost: string;
  /** The same as a share of W's own multiplications, where it is no smaller: `1`, `1 to 2`. Absent where it is. */
  readonly ofBase?: string;
  /** Numbers of four bytes that one linear takes on the device. */
  readonly numbers: string;
  /** Files of the `peft_type` that are refused, and why; absent where every one is read. */
  readonly refused?: string;
}

/** An adapter method. */
export interface Method {
  /** What it is called: in messages, and in lower case on the command line. No two of a list have one name. */
  readonly name: string;
  /** PEFT's `peft_type`; others may share it. */
  readonly peftType: string;
  /** For the table of methods; every method of this package has them. */
  readonly facts?: MethodFacts;
  /**
   * Whether an adapter of the `peft_type` is this method's, by its config and the names of its tensors; by default every
   * one is. Of several methods that claim one, the last of the list has it.
   */
  claims?(config: Readonly<Record<string, unknown>>, tensors: readonly string[]): boolean;
  /** What stands before a module's path in the names of its tensors; `base_model.model.` unless told. */
  readonly prefix?: string;
  /** Matches the names of its tensors that end as a model's parameters do, `.weight` or `.bias` (LoRA's `lora_B.bias`). */
  readonly own?: RegExp;
  /** Matches the names of tensors that hold integers: `read` has them as int32. All others are floats. */
  readonly integers?: RegExp;
  /**
   * Checks what a config alone can be wrong in, so that lists need not read tensors.
   *
   * @throws ConfigError that names the field and the rule.
   */
  checkConfig(config: Readonly<Record<string, unknown>>): void;
  /**
   * Reads the adapted modules by path (`model.layers.0.self_attn.q_proj`), in the file's order.
   *
   * @throws ConfigError that names the field or tensor and the rule.
   */
  read(files: AdapterFiles): ReadonlyMap<string, AdapterModule>;
  /**
   * Reads replacements of the model's own parameters, by their names (LN tuning, LoRA on embeddings).
   *
   * @throws as {@linkcode Method.read}
   */
  replaces?(files: AdapterFiles): Replacements;
  /** How new adapters are made; absent for a method that is only applied. */
  readonly training?: MethodTraining;
  /**
   * Whether linears that do not share an input keep their tables in different tensors: for tables of a weight's size. By
   * default all tables of a bank lie in one tensor, where linears share them.
   */
  readonly tablesApart?: boolean;
  /** Changes each row's x before the product. */
  before?(bank: BeforeStep): Step;
  /**
   * `before` for all linears that share x at once, where one step is faster. A plan takes it unless another method's adapters
   * change x, too.
   */
  beforeAll?(bank: BeforeAllStep): Step;
  /**
   * A module whose dW is the sum of the terms' dW, each times its scale, for a linear of this shape. All are of this method.
   * Without it, and without `takesScale`, no two adapters of the method are added up, and none has a scale other than 1.
   */
  sum?(terms: readonly Term[], shape: LinearShape): AdapterModule;
  /**
   * Whether its modules have `times`. Such a method needs no `sum`: each adapter of a row takes a slot in a bank of its own,
   * at any scale, and a step of its own.
   */
  readonly takesScale?: boolean;
  /**
   * The files of an adapter whose dW is the sum of others', each times its weight: `combineAdapters` writes them. Absent for
   * methods whose files hold no sums.
   *
   * @throws CombinationError that names what these adapters differ in, where no file holds their sum.
   */
  combined?(adapters: readonly Summand[], io: CombineIo): CombinedFiles;
  /** `y += x dW^T` of each row's adapter, for each linear in its columns of y. */
  beside?(bank: BesideStep): Step;
  /** Changes each row's product. Rows that also go to a residual meet it later. */
  after?(bank: AfterStep): Step;
  /** Whether the bias is part of what `after` changes (IA3); it is added afterwards unless this is true (DoRA). */
  readonly changesBias?: boolean;
}

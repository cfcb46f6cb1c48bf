/**
 * The parameters of a base model that adapters may have their own of, beside the linears' weights.
 *
 * @module
 */
import type { Tensor } from "../tensor.ts";

/**
 * What a parameter does to rows: a bias (size) is added; a norm's weight (size) multiplies; an embedding (entries, width) is
 * looked up; a head (out, in) is multiplied by.
 */
export type ParameterKind = "bias" | "norm" | "embedding" | "head";

/** A parameter of a model. */
export interface Parameter {
  /** As the model's files name it, e.g. `model.norm.weight`; adapters' files name it so, too. */
  readonly name: string;
  readonly kind: ParameterKind;
  readonly shape: readonly number[];
  /**
   * The model's own numbers, from element `at` of a tensor on; absent for a bias that it does not have. Those of the tensor are
   * greater by `plus` than those of files, where that is given.
   */
  readonly base?: { readonly tensor: Tensor; readonly at: number; readonly plus?: number };
  /** Of a head: the name of the embedding that it has its weight from. */
  readonly tiedTo?: string;
}

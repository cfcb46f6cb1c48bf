/**
 * Parameters of a language model that are trained beside its linears: norms, embeddings and heads that an adapter has in the
 * place of the model's, whole (PEFT's `modules_to_save`) or by rows (`trainable_token_indices`).
 *
 * @module
 */
import type { Parameter } from "../adapters/parameters.ts";
import { type HostTensor, slice, type Tensor } from "../tensor.ts";
import type { OwnNumbers } from "./objective.ts";

/** A parameter that is trained. */
export interface OwnPart {
  readonly parameter: Parameter;
  /** Where its numbers start among all own ones: those of the adapter's file. */
  readonly at: number;
  /** Of the numbers: the parameter's, or (ids, width). */
  readonly shape: readonly number[];
  /** Rows of a table that are trained, ascending; absent where all are. */
  readonly ids?: Uint32Array;
}

/** Parameters that are trained, and their numbers. */
export interface OwnParameters extends OwnNumbers {
  readonly parts: readonly OwnPart[];
  /** The model's head in float32, where rows of it are trained: they stand in their places before each forward. */
  readonly headTable?: HostTensor;
}

/** The rows of an embedding that its tied head has, too. */
export function headRows(parts: readonly OwnPart[]): OwnPart | undefined {
  return parts.find(({ parameter: { kind }, ids }) => kind === "embedding" && ids !== undefined);
}

/** A part's numbers in a tensor of all that is trained. */
export function numbersIn(all: Tensor, { at, shape }: OwnPart, ownAt: number): Tensor {
  return slice(all, ownAt + at, shape);
}

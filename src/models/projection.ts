/**
 * Linears that share their input, as one product.
 *
 * @module
 */
import type { LinearGroup } from "../adapters/bank.ts";
import type { LinearShape } from "../adapters/method.ts";
import { slice } from "../tensor.ts";
import { type LinearWeights, rowsOf } from "./weights.ts";

/** Linears of one input: their weights and biases stand one after the other along `out`. */
export interface Projection extends LinearWeights {
  /** Its part in a layer, by its family's name: projections of one kind and shape take equally long. */
  readonly kind: string;
  /** Which of the model's linears. */
  readonly linears: LinearGroup;
  /** Outputs of each of them. */
  readonly outs: readonly number[];
  /** Of the whole weight. */
  readonly shape: LinearShape;
  /** Copies, by the linear's place here, of linears that a GPU cannot bind where they lie. */
  readonly copies?: readonly (LinearWeights | undefined)[];
}

/** The weight and bias of one linear of a projection: number `index` of its linears. */
export function partOf({ weight, bias, outs, copies }: Projection, index: number): LinearWeights {
  const copy = copies?.[index];
  if (copy) return copy;
  const out = outs[index];
  const at = outs.slice(0, index).reduce((sum, size) => sum + size, 0);
  const part = rowsOf(weight, { at, out });
  return bias ? { weight: part, bias: slice(bias, at, out) } : { weight: part };
}

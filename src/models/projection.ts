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
}

/**
 * The weight and bias of one linear of a projection, not copied: number `index` of its linears.
 *
 * @throws RangeError where such a part does not begin at a multiple of 256 bytes, on a GPU; in real models it does.
 */
export function partOf({ weight, bias, outs }: Projection, index: number): LinearWeights {
  const out = outs[index];
  const at = outs.slice(0, index).reduce((sum, size) => sum + size, 0);
  const part = rowsOf(weight, { at, out });
  return bias ? { weight: part, bias: slice(bias, at, out) } : { weight: part };
}

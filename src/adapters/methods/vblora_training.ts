/**
 * VB-LoRA while it is trained: both factors from logits and the bank, for each step anew, and the gradients of both. Logits
 * that are not among the greatest have none, as in PEFT.
 *
 * @module
 */
import { fill } from "../../../kernels/fill.ts";
import { linear } from "../../../kernels/linear.ts";
import { linearTransposed } from "../../../kernels/linear_transposed.ts";
import { loraBackward } from "../../../kernels/lora_backward.ts";
import { loraProduct } from "../../../kernels/lora_product.ts";
import { tileFactors } from "../../../kernels/tile_factors.ts";
import { topSoftmax } from "../../../kernels/top_softmax.ts";
import { topSoftmaxBackward } from "../../../kernels/top_softmax_backward.ts";
import { weightGradient } from "../../../kernels/weight_gradient.ts";
import { type Step, step } from "../../plan.ts";
import { slice, tensor } from "../../tensor.ts";
import type { LinearShape } from "../method.ts";
import type { SharedNumbers, TrainableModule, TrainIo } from "../training.ts";

/** What a module is trained with. */
export interface MixturesToTrain {
  readonly rank: number;
  readonly shape: LinearShape;
  /** Vectors of the bank, and numbers of each. */
  readonly vectors: number;
  readonly length: number;
  readonly topk: number;
  /** Of A's vectors (rank, in / length, vectors), then of B's (out / length, rank, vectors). */
  readonly logits: Float32Array;
  readonly shared: SharedNumbers;
}

/** A module's numbers are its logits; the shared ones are the bank. */
export function trainableMixtures(
  { rank, shape: { out, in: inSize }, vectors, length, topk, logits, shared }: MixturesToTrain,
): TrainableModule {
  const count = logits.length / vectors, numbers = rank * (inSize + out);
  const sizes = { rank, in: inSize, out, length }, mixing = { rows: count, in: length, out: vectors };
  const bankOf = ({ params, sharedAt }: TrainIo) => slice(params, sharedAt, [vectors, length]);

  /** The weights of the mixtures, and the factors that they make: A (rank, in), then B (out, rank). */
  function folded(io: TrainIo) {
    const { params, at, scratch } = io, weights = scratch("weights", [count, vectors]);
    const mixed = scratch("vectors", [count, length]), factors = scratch("factors", [numbers]);
    const steps: Step[] = [
      step(topSoftmax, { logits: params, weights }, { rows: count, vectors, top: topk, offset: at }),
      step(linearTransposed, { dy: weights, weight: bankOf(io), dx: mixed }, { ...mixing, accumulate: 0 }),
      step(tileFactors, { x: mixed, y: factors }, { ...sizes, back: 0 }),
    ];
    return { weights, factors, steps };
  }

  return {
    values: logits,
    shared,
    beside: {
      forward(io) {
        const { x, y, rows } = io, { factors, steps } = folded(io);
        const words = { rows, in: inSize, out, rank, offset: 0, scale: 1 };
        return [...steps, step(loraProduct, { x, values: factors, y }, words)];
      },
      backward({ dy, dx, ...io }) {
        const { x, rows, gradients, at, sharedAt, scratch } = io, { weights, factors, steps } = folded(io);
        const dfactors = scratch("dfactors", [numbers]), dmixed = scratch("dvectors", [count, length]);
        const dweights = scratch("dweights", [count, vectors]);
        const words = { rows, in: inSize, out, rank, offset: 0, scale: 1 };
        return [
          ...steps,
          step(fill, { y: dfactors }, { count: numbers, value: 0 }),
          step(loraBackward, { x, dy, values: factors, gradient: dfactors, dx }, words),
          step(tileFactors, { x: dfactors, y: dmixed }, { ...sizes, back: 1 }),
          step(linear, { x: dmixed, weight: bankOf(io), y: dweights }, { ...mixing, accumulate: 0 }),
          step(weightGradient, { dy: weights, x: dmixed, gradient: gradients }, {
            ...mixing,
            offset: sharedAt,
            scale: 1,
          }),
          step(topSoftmaxBackward, { weights, dweights, gradient: gradients }, {
            rows: count,
            vectors,
            offset: at,
          }),
        ];
      },
    },
    tensors(values) {
      const tilesIn = inSize / length, middle = rank * tilesIn * vectors;
      return new Map([
        [".vblora_logits_A", tensor(values.slice(0, middle), [rank, tilesIn, vectors])],
        [".vblora_logits_B", tensor(values.slice(middle), [out / length, rank, vectors])],
      ]);
    },
  };
}

import { embedding } from "../../../kernels/embedding.ts";
import { step } from "../../plan.ts";
import type { Value } from "../graph.ts";
import type { Projection } from "../projection.ts";

/** The rows whose logits are wanted: in whole plans all of them. */
export function outputsOf(x: Value): Value {
  const y = x.graph.value(x.width, "outputs");
  x.graph.record({
    name: "outputs",
    reads: [x],
    makes: [y],
    step: ({ rows, outputs, maxRows, tensor }) => [
      step(embedding, { ids: outputs, weight: tensor(x), y: tensor(y) }, {
        rows,
        dim: x.width,
        vocab: maxRows,
      }),
    ],
    whole: [0],
  });
  return y;
}

/** The end of a forward: a number for each token of the vocabulary; with a softcap, softcap tanh(logit / softcap). */
export function logits(
  hidden: Value,
  head: Projection,
  { softcap }: { readonly softcap?: number } = {},
): void {
  hidden.graph.end({ hidden, head, softcap });
}

/**
 * The end of an encoder's forward: the last hidden states, and what heads read of each sequence.
 *
 * @param pooled Of the first row of each sequence.
 */
export function states(hidden: Value, pooled: Value): void {
  hidden.graph.endInStates({ hidden, pooled });
}

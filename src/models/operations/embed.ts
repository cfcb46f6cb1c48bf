import { embedding } from "../../../kernels/embedding.ts";
import { embeddingPart } from "../../../kernels/embedding_part.ts";
import { type Plan, step } from "../../plan.ts";
import type { Tensor } from "../../tensor.ts";
import { type Graph, inputOf, type Io, type OwnSteps, type Value } from "../graph.ts";
import { denseWeight, floatsOf, partsOf, type Weight } from "../weights.ts";

/** Rows of a table (entries, width): of the rows' tokens, of their positions, or of their types. */
export function embed(
  graph: Graph,
  table: Tensor | Weight,
  by: "tokens" | "positions" | "types" = "tokens",
): Value {
  const weight = "format" in table ? table : denseWeight(table), floats = floatsOf(weight);
  const { format, shape: { in: dim } } = weight;
  const y = graph.value(dim);
  const bound = ({ rows, inputs, tensor }: Io): Plan =>
    partsOf(weight).map(({ at: first, part: { tensors, shape: { out: vocab } } }) => {
      const io = { ids: inputOf(inputs, by), ...tensors, y: tensor(y) }, words = { rows, dim, vocab };
      return weight.parts
        ? step(embeddingPart.of(format), io, { ...words, first })
        : step(embedding.of(format), io, words);
    });
  const steps = (io: Io & { readonly own: OwnSteps }): Plan => {
    const { rows, inputs, tensor } = io;
    return [
      ...bound(io),
      ...floats ? io.own.embedding(floats, { ids: inputOf(inputs, by), y: tensor(y), rows, of: y.of }) : [],
    ];
  };
  graph.record({
    name: "embed",
    reads: [],
    makes: [y],
    // Blocks are no numbers that an adapter could have others in place of.
    parameters: floats ? [{ tensor: floats, kind: "embedding" }] : [],
    step: steps,
    whole: (io) => steps(io).map((forward) => ({ forward })),
  });
  return y;
}

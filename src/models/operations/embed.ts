import { embedding } from "../../../kernels/embedding.ts";
import { step } from "../../plan.ts";
import type { Tensor } from "../../tensor.ts";
import { type Graph, inputOf, type Io, type Value } from "../graph.ts";
import { denseWeight, floatsOf, type Weight } from "../weights.ts";

/** Rows of a table (entries, width): of the rows' tokens, of their positions, or of their types. */
export function embed(
  graph: Graph,
  table: Tensor | Weight,
  by: "tokens" | "positions" | "types" = "tokens",
): Value {
  const weight = "format" in table ? table : denseWeight(table), floats = floatsOf(weight);
  const { format, tensors, shape: { out: vocab, in: dim } } = weight;
  const y = graph.value(dim);
  const bound = ({ rows, inputs, tensor }: Io) =>
    step(embedding.of(format), { ids: inputOf(inputs, by), ...tensors, y: tensor(y) }, { rows, dim, vocab });
  graph.record({
    name: "embed",
    reads: [],
    makes: [y],
    // Blocks are no numbers that an adapter could have others in place of.
    parameters: floats ? [{ tensor: floats, kind: "embedding" }] : [],
    step: (io) => {
      const { rows, inputs, tensor } = io;
      return [
        bound(io),
        ...floats ? io.own.embedding(floats, { ids: inputOf(inputs, by), y: tensor(y), rows, of: y.of }) : [],
      ];
    },
    whole: (io) => [{ forward: bound(io) }],
  });
  return y;
}

import { embedding } from "../../../kernels/embedding.ts";
import { step } from "../../plan.ts";
import type { Tensor } from "../../tensor.ts";
import { type Graph, inputOf, type Io, type Value } from "../graph.ts";
import { denseWeight, type Weight } from "../weights.ts";

/** Rows of a table (entries, width): of the rows' tokens, of their positions, or of their types. */
export function embed(
  graph: Graph,
  table: Tensor | Weight,
  by: "tokens" | "positions" | "types" = "tokens",
): Value {
  const { format, tensors, shape: { out: vocab, in: dim } } = "format" in table ? table : denseWeight(table);
  const y = graph.value(dim);
  const bound = ({ rows, inputs, tensor }: Io) =>
    step(embedding.of(format), { ids: inputOf(inputs, by), ...tensors, y: tensor(y) }, { rows, dim, vocab });
  graph.record({
    name: "embed",
    reads: [],
    makes: [y],
    parameters: [{ tensor: table, kind: "embedding" }],
    step: (io) => {
      const { rows, inputs, tensor } = io;
      return [
        bound(io),
        ...io.own.embedding(table, { ids: inputOf(inputs, by), y: tensor(y), rows, of: y.of }),
      ];
    },
    whole: (io) => [{ forward: bound(io) }],
  });
  return y;
}

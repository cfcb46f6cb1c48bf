import { copy } from "../../../kernels/copy.ts";
import { step } from "../../plan.ts";
import { type Graph, inputOf, type Io, type Value } from "../graph.ts";

/** The rows' patches of pixels, of so many numbers each. */
export function patches(graph: Graph, width: number): Value {
  const y = graph.value(width);
  const bound = ({ rows, inputs, tensor }: Io) =>
    step(copy, { x: inputOf(inputs, "patches"), y: tensor(y) }, { count: rows * width });
  graph.record({
    name: "patches",
    reads: [],
    makes: [y],
    step: (io) => [bound(io)],
    whole: (io) => [{ forward: bound(io) }],
  });
  return y;
}

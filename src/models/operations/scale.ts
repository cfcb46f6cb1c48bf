import { multiplyBy } from "../../../kernels/multiply_by.ts";
import { step } from "../../plan.ts";
import type { Io, Value } from "../graph.ts";

/** factor x; x itself where the factor is 1. */
export function scale(x: Value, factor: number): Value {
  if (factor === 1) return x;
  const y = x.graph.value(x.width, x.of);
  const bound = ({ rows, tensor }: Io) =>
    step(multiplyBy, { x: tensor(x), y: tensor(y) }, { count: rows * x.width, factor });
  x.graph.record({
    name: "scale",
    reads: [x],
    makes: [y],
    step: (io) => [bound(io)],
    whole: (io) => [{ forward: bound(io) }],
  });
  return y;
}

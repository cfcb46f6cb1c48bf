import { add as addKernel } from "../../../kernels/add.ts";
import { step } from "../../plan.ts";
import type { Io, Value } from "../graph.ts";

/** a + b. */
export function add(a: Value, b: Value): Value {
  const y = a.graph.value(a.width, a.of);
  const bound = ({ rows, tensor }: Io) =>
    step(addKernel, { x: tensor(b), y: tensor(y) }, { count: rows * y.width });
  a.graph.record({
    name: "add",
    reads: [b],
    makes: [y],
    onto: a,
    step: (io) => [bound(io)],
    whole: (io) => [{ forward: bound(io) }],
  });
  return y;
}

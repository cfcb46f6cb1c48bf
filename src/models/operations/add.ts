import { addScaled } from "../../../kernels/add_scaled.ts";
import { add as addKernel } from "../../../kernels/add.ts";
import { step } from "../../plan.ts";
import type { Io, Value } from "../graph.ts";

/** a + factor b. */
export function add(a: Value, b: Value, factor = 1): Value {
  const y = a.graph.value(a.width, a.of);
  const bound = ({ rows, tensor }: Io) => {
    const io = { x: tensor(b), y: tensor(y) }, count = rows * y.width;
    return factor === 1 ? step(addKernel, io, { count }) : step(addScaled, io, { count, factor });
  };
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

import { gateColumns } from "../../../kernels/gate_columns.ts";
import { type Step, step } from "../../plan.ts";
import type { Io, Value } from "../graph.ts";
import { apartIn, besideIn, type Columns } from "./beside.ts";

/**
 * x times the sigmoid of gates, or their silu.
 *
 * @param options `beside` are all values that stand in one table with the gates, in order. With `headDim` the gates of each
 * head stand behind as many other columns.
 */
export function gateBy(
  x: Value,
  gate: Value,
  { activation, beside, headDim }: {
    readonly activation: "sigmoid" | "silu";
    readonly beside: readonly Value[];
    readonly headDim?: number;
  },
): Value {
  const dim = x.width, y = x.graph.value(dim);
  const groups = headDim === undefined
    ? { behind: 0, group: dim, groupStride: dim }
    : { behind: headDim, group: headDim, groupStride: 2 * headDim };
  const bound = ({ rows, tensor }: Io, { table, stride, at }: Columns): Step => {
    const { behind, ...words } = groups;
    return step(gateColumns, { x: tensor(x), gate: table, y: tensor(y) }, {
      ...{ rows, dim, stride, at: at + behind, ...words, silu: Number(activation === "silu") },
    });
  };
  x.graph.record({
    name: `gate_by_${activation}`,
    reads: [x, gate],
    makes: [y],
    step: (io) => [bound(io, besideIn(io, beside)(gate))],
    whole: (io) => [{ forward: bound(io, apartIn(io)(gate)) }],
  });
  return y;
}

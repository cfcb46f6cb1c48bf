import { takeColumns } from "../../../kernels/take_columns.ts";
import { step } from "../../plan.ts";
import type { Value } from "../graph.ts";

/** The columns of x, cut into values of so many each. */
export function split(x: Value, widths: readonly number[]): Value[] {
  const starts = widths.map((_, i) => widths.slice(0, i).reduce((sum, width) => sum + width, 0));
  const made = widths.map((width) => x.graph.value(width, x.of));
  x.graph.record({
    name: "split",
    reads: [x],
    makes: made,
    step: starts,
    whole: ({ rows, tensor }) =>
      made.map((y, i) => ({
        forward: step(takeColumns, { x: tensor(x), y: tensor(y) }, {
          ...{ rows, dim: y.width, stride: x.width, at: starts[i] },
        }),
      })),
  });
  return made;
}

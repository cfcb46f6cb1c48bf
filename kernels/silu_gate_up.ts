import { gateUpOf } from "./gate/of.ts";
import type { Kernel } from "./kernel.ts";

/** The gated unit of a feed-forward layer, on rows that one product made. */
export const siluGateUp: Kernel<"gateUp" | "y", "rows" | "dim"> = gateUpOf({
  name: "silu",
  doc: "g / (1 + exp(-g))",
  // exp of a number <= 0 cannot overflow.
  valueText: `let e = exp(-abs(g));
  let value = g * select(e, 1.0, g >= 0) / (1 + e);`,
  value: (g) => g / (1 + Math.exp(-g)),
}, ({ rows, dim }) => ({
  function: "silu_gate_up",
  args: ["gateUp", "y", dim],
  items: rows,
  work: 16 * rows * dim,
}));

import { relu } from "./gate/activations.ts";
import { gateUpOf } from "./gate/of.ts";
import type { Kernel } from "./kernel.ts";

/** `relu_gate` on rows that one product made. */
export const reluGateUp: Kernel<"gateUp" | "y", "rows" | "dim"> = gateUpOf(relu);

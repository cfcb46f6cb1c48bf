import { geluNew } from "./gate/activations.ts";
import { gateUpOf } from "./gate/of.ts";
import type { Kernel } from "./kernel.ts";

/** `gelu_new_gate` on rows that one product made. */
export const geluNewGateUp: Kernel<"gateUp" | "y", "rows" | "dim"> = gateUpOf(geluNew);

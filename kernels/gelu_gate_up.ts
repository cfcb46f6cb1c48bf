import { gelu } from "./gate/activations.ts";
import { gateUpOf } from "./gate/of.ts";
import type { Kernel } from "./kernel.ts";

/** `gelu_gate` on rows that one product made. */
export const geluGateUp: Kernel<"gateUp" | "y", "rows" | "dim"> = gateUpOf(gelu);

import { gelu } from "./gate/activations.ts";
import { gateBackwardOf, gateOf } from "./gate/of.ts";
import { anyKernel, type Kernel } from "./kernel.ts";

/** The gradients of `gelu_gate`. */
export const geluGateBackward: Kernel<"dy" | "gate" | "up" | "dgate" | "dup", "count"> = gateBackwardOf(gelu);

/** A unit gated by `gelu` (Shazeer 2020, arXiv:2002.05202). */
export const geluGate: Kernel<"gate" | "up" | "y", "count"> = gateOf(gelu, anyKernel(geluGateBackward));

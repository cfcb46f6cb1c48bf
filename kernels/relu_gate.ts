import { relu } from "./gate/activations.ts";
import { gateBackwardOf, gateOf } from "./gate/of.ts";
import { anyKernel, type Kernel } from "./kernel.ts";

/** The gradients of `relu_gate`. */
export const reluGateBackward: Kernel<"dy" | "gate" | "up" | "dgate" | "dup", "count"> = gateBackwardOf(relu);

/** A unit gated by `relu`. */
export const reluGate: Kernel<"gate" | "up" | "y", "count"> = gateOf(relu, anyKernel(reluGateBackward));

import { geluNew } from "./gate/activations.ts";
import { gateBackwardOf, gateOf } from "./gate/of.ts";
import { anyKernel, type Kernel } from "./kernel.ts";

/** The gradients of `gelu_new_gate`. */
export const geluNewGateBackward: Kernel<"dy" | "gate" | "up" | "dgate" | "dup", "count"> = gateBackwardOf(
  geluNew,
);

/** A unit gated by `gelu_new`, which config files call `gelu_pytorch_tanh`, too. */
export const geluNewGate: Kernel<"gate" | "up" | "y", "count"> = gateOf(
  geluNew,
  anyKernel(geluNewGateBackward),
);

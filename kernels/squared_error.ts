import { elementwise } from "./elementwise.ts";
import type { Kernel } from "./kernel.ts";

/** The loss of regression, and its gradient. */
export const squaredError: Kernel<"predictions" | "targets" | "losses" | "gradient", "count"> = elementwise({
  name: "squared_error",
  doc: "losses[i] = (predictions[i] - targets[i])^2, gradient[i] = 2 (predictions[i] - targets[i])",
  buffers: { predictions: "read", targets: "read", losses: "write", gradient: "write" },
  wgsl: `let error = predictions[i] - targets[i];
  losses[i] = error * error;
  gradient[i] = 2 * error;`,
  reference({ predictions, targets, losses, gradient }, { count }) {
    for (let i = 0; i < count; i++) {
      const error = predictions[i] - targets[i];
      losses[i] = error * error;
      gradient[i] = 2 * error;
    }
  },
  tolerance: 1e-6,
});

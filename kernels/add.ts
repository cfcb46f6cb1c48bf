import { elementwise } from "./elementwise.ts";
import { anyKernel, type Kernel } from "./kernel.ts";
import { relayOfX } from "./parts.ts";

/** Adds one array to another: a residual connection. */
export const add: Kernel<"x" | "y", "count"> = elementwise({
  name: "add",
  doc: "y[i] += x[i]",
  buffers: { x: "read", y: "update" },
  wgsl: "y[i] += x[i];",
  reference({ x, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] += x[i];
  },
  wasm: true,
  // The gradient of what is added to is its own: dx += dy.
  backward: (uniforms) => ({
    steps: [{
      kernel: anyKernel(add),
      values: {},
      gradients: { x: "y" },
      targets: { y: { of: "x", mode: "add" } },
      uniforms,
    }],
    overwritten: [],
  }),
  relay: relayOfX("+="),
  tolerance: 1e-6,
});

import { add } from "./add.ts";
import { elementwise } from "./elementwise.ts";
import { anyKernel, type Kernel } from "./kernel.ts";
import { relayOfX } from "./parts.ts";

/** Keeps an activation that later steps overwrite. */
export const copy: Kernel<"x" | "y", "count"> = elementwise({
  name: "copy",
  doc: "y[i] = x[i]",
  buffers: { x: "read", y: "write" },
  wgsl: "y[i] = x[i];",
  reference({ x, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] = x[i];
  },
  // The gradient of x is added to: other steps may read x, too.
  backward: (uniforms) => ({
    steps: [{
      kernel: anyKernel(add),
      values: {},
      gradients: { x: "y" },
      targets: { y: { of: "x", mode: "add" } },
      uniforms,
    }],
    overwritten: ["y"],
  }),
  relay: relayOfX("="),
  tolerance: 0,
});

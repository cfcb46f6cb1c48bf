import { elementwise } from "./elementwise.ts";
import { anyKernel, type Kernel } from "./kernel.ts";

/** Adds an array times a number of the model to another: a residual connection with a multiplier. */
export const addScaled: Kernel<"x" | "y", "factor" | "count"> = elementwise({
  name: "add_scaled",
  doc: "y[i] += factor x[i]",
  buffers: { x: "read", y: "update" },
  uniforms: { factor: "f32" },
  wgsl: "y[i] += uniforms.factor * x[i];",
  reference({ x, y }, { count, factor }) {
    for (let i = 0; i < count; i++) y[i] += factor * x[i];
  },
  // The gradient of what is added to is its own: dx += factor dy.
  backward: (uniforms) => ({
    steps: [{
      kernel: anyKernel(addScaled),
      values: {},
      gradients: { x: "y" },
      targets: { y: { of: "x", mode: "add" } },
      uniforms,
    }],
    overwritten: [],
  }),
  tolerance: 1e-6,
});

import { elementwise } from "./elementwise.ts";
import { anyKernel, type Kernel } from "./kernel.ts";

/** The gradient of `multiply_by`. */
export const multiplyByBackward: Kernel<"dy" | "dx", "factor" | "count"> = elementwise({
  name: "multiply_by_backward",
  doc: "dx[i] = factor dy[i]",
  buffers: { dy: "read", dx: "write" },
  uniforms: { factor: "f32" },
  wgsl: "dx[i] = uniforms.factor * dy[i];",
  reference({ dy, dx }, { count, factor }) {
    for (let i = 0; i < count; i++) dx[i] = factor * dy[i];
  },
  tolerance: 1e-6,
});

/** Numbers times a number of the model. */
export const multiplyBy: Kernel<"x" | "y", "factor" | "count"> = elementwise({
  name: "multiply_by",
  doc: "y[i] = factor x[i]",
  buffers: { x: "read", y: "write" },
  uniforms: { factor: "f32" },
  wgsl: "y[i] = uniforms.factor * x[i];",
  reference({ x, y }, { count, factor }) {
    for (let i = 0; i < count; i++) y[i] = factor * x[i];
  },
  gradient: anyKernel(multiplyByBackward),
  tolerance: 1e-6,
});

import { elementwise } from "./elementwise.ts";
import { anyKernel, type Kernel } from "./kernel.ts";

/** The gradient of `relu`, which is 0 at 0. */
export const reluBackward: Kernel<"dy" | "x" | "dx", "count"> = elementwise({
  name: "relu_backward",
  doc: "dx[i] = dy[i] where x[i] > 0, else 0",
  buffers: { dy: "read", x: "read", dx: "write" },
  wgsl: "dx[i] = select(T(0), dy[i], x[i] > T(0));",
  reference({ dy, x, dx }, { count }) {
    for (let i = 0; i < count; i++) dx[i] = x[i] > 0 ? dy[i] : 0;
  },
  tolerance: 1e-6,
});

/** The rectified linear unit. */
export const relu: Kernel<"x" | "y", "count"> = elementwise({
  name: "relu",
  doc: "y[i] = x[i] where x[i] is not below 0, else 0",
  buffers: { x: "read", y: "write" },
  // NaN is not below 0: it stays.
  wgsl: "y[i] = select(x[i], T(0), x[i] < T(0));",
  reference({ x, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] = x[i] < 0 ? 0 : x[i];
  },
  gradient: anyKernel(reluBackward),
  tolerance: 1e-6,
});

import { elementwise } from "./elementwise.ts";
import { anyKernel, type Kernel } from "./kernel.ts";

/** exp of a number <= 0 cannot overflow; tanh of WGSL may, and loses digits near 0. */
const tanhText = `
  let size = abs(x[i]);
  let e = exp(-2 * size);
  let square = size * size;
  let near = size * (1 + square * (-1.0 / 3 + square * (2.0 / 15 - square * (17.0 / 315))));
  let tanh_size = select((1 - e) / (1 + e), near, size < T(0.1));`;

/** The gradient of `tanh`, from its output. */
export const tanhBackward: Kernel<"dy" | "y" | "dx", "count"> = elementwise({
  name: "tanh_backward",
  doc: "dx[i] = dy[i] (1 - y[i] y[i])",
  buffers: { dy: "read", y: "read", dx: "write" },
  wgsl: "dx[i] = dy[i] * (1 - y[i]) * (1 + y[i]);",
  reference({ dy, y, dx }, { count }) {
    for (let i = 0; i < count; i++) dx[i] = dy[i] * (1 - y[i]) * (1 + y[i]);
  },
  tolerance: 1e-6,
});

/** The hyperbolic tangent, by itself. */
export const tanh: Kernel<"x" | "y", "count"> = elementwise({
  name: "tanh",
  doc: "y[i] = tanh(x[i])",
  buffers: { x: "read", y: "write" },
  wgsl: `${tanhText}
  y[i] = select(tanh_size, -tanh_size, x[i] < T(0));`,
  reference({ x, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] = Math.tanh(x[i]);
  },
  gradient: anyKernel(tanhBackward),
  tolerance: 1e-5,
});

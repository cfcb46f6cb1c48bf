import { elementwise } from "./elementwise.ts";
import { anyKernel, type Kernel } from "./kernel.ts";

/** exp of a number <= 0 cannot overflow. */
const sigmoid = `
  let e = exp(-abs(x[i]));
  let sigmoid = select(e, T(1), x[i] >= T(0)) / (1 + e);`;

/** The gradient of `silu`. */
export const siluBackward: Kernel<"dy" | "x" | "dx", "count"> = elementwise({
  name: "silu_backward",
  doc: "dx[i] = dy[i] s (1 + x[i] (1 - s)), where s = 1 / (1 + exp(-x[i]))",
  buffers: { dy: "read", x: "read", dx: "write" },
  wgsl: `${sigmoid}
  let rest = select(T(1), e, x[i] >= T(0)) / (1 + e);
  dx[i] = dy[i] * sigmoid * (1 + x[i] * rest);`,
  reference({ dy, x, dx }, { count }) {
    for (let i = 0; i < count; i++) {
      const s = 1 / (1 + Math.exp(-x[i]));
      dx[i] = dy[i] * s * (1 + x[i] * (1 - s));
    }
  },
  tolerance: 1e-5,
});

/** The sigmoid linear unit, without a gate. */
export const silu: Kernel<"x" | "y", "count"> = elementwise({
  name: "silu",
  doc: "y[i] = x[i] / (1 + exp(-x[i]))",
  buffers: { x: "read", y: "write" },
  wgsl: `${sigmoid}
  y[i] = x[i] * sigmoid;`,
  reference({ x, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] = x[i] / (1 + Math.exp(-x[i]));
  },
  gradient: anyKernel(siluBackward),
  tolerance: 1e-5,
});

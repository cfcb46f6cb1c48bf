import { elementwise } from "./elementwise.ts";
import { anyKernel, type Kernel } from "./kernel.ts";

/** sqrt(2 / pi), and the cube's part. */
export const root: number = Math.sqrt(2 / Math.PI), cubic = 0.044715;

/** (1 + tanh(z / 2)) / 2 = 1 / (1 + exp(-z)) of z = 2 u(x). exp of a number <= 0 cannot overflow. */
export const sigmoidText = (x: string): string => `
  let z = ${2 * root} * ${x} * (1 + ${cubic} * ${x} * ${x});
  let e = exp(-abs(z));
  let sigmoid = select(e, T(1), z >= T(0)) / (1 + e);`;

/** The same as a function. */
export const sigmoidOf = (x: number): number => 1 / (1 + Math.exp(-2 * root * x * (1 + cubic * x * x)));

/** The gradient of `gelu_new`. */
export const geluNewBackward: Kernel<"dy" | "x" | "dx", "count"> = elementwise({
  name: "gelu_new_backward",
  doc:
    "dx[i] = dy[i] (s + x[i] s (1 - s) z'), where z = 2 sqrt(2 / pi) (x[i] + 0.044715 x[i]^3) and s = 1 / (1 + exp(-z))",
  buffers: { dy: "read", x: "read", dx: "write" },
  wgsl: `${sigmoidText("x[i]")}
  let rest = select(T(1), e, z >= T(0)) / (1 + e);
  let slope = ${2 * root} * (1 + ${3 * cubic} * x[i] * x[i]);
  dx[i] = dy[i] * sigmoid * (1 + x[i] * rest * slope);`,
  reference({ dy, x, dx }, { count }) {
    for (let i = 0; i < count; i++) {
      const s = sigmoidOf(x[i]);
      dx[i] = dy[i] * (s + x[i] * s * (1 - s) * 2 * root * (1 + 3 * cubic * x[i] ** 2));
    }
  },
  tolerance: 1e-5,
});

/** The Gaussian error linear unit by a hyperbolic tangent: `gelu_new`, `gelu_pytorch_tanh`. */
export const geluNew: Kernel<"x" | "y", "count"> = elementwise({
  name: "gelu_new",
  doc: "y[i] = x[i] (1 + tanh(sqrt(2 / pi) (x[i] + 0.044715 x[i]^3))) / 2",
  buffers: { x: "read", y: "write" },
  wgsl: `${sigmoidText("x[i]")}
  y[i] = x[i] * sigmoid;`,
  reference({ x, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] = x[i] * sigmoidOf(x[i]);
  },
  gradient: anyKernel(geluNewBackward),
  tolerance: 1e-5,
});

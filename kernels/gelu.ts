import { elementwise } from "./elementwise.ts";
import { anyKernel, type Kernel } from "./kernel.ts";

/** erfc of x >= 0 to 1e-15: a series for small x, a continued fraction for larger ones. */
function erfc(x: number): number {
  if (x < 2.5) {
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= -x * x / n;
      sum += term / (2 * n + 1);
    }
    return 1 - 2 / Math.sqrt(Math.PI) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (x + fraction);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
}

/** The normal distribution's part below x. */
export const below = (x: number): number => x < 0 ? erfc(-x / Math.SQRT2) / 2 : 1 - erfc(x / Math.SQRT2) / 2;

/** The normal distribution's density at x. */
export const density = (x: number): number => Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);

/**
 * erfc of |x| / sqrt(2) by Abramowitz and Stegun 7.1.26, within 1.5e-7; the tail of the negative side is not a difference.
 */
export const belowText = (x: string): string => `
  let size = abs(${x});
  let t = 1 / (1 + ${0.3275911 * Math.SQRT1_2} * size);
  let bell = exp(-0.5 * size * size);
  let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * poly * bell;
  let below = select(tail, 1 - tail, ${x} >= T(0));`;

/** The gradient of `gelu`. */
export const geluBackward: Kernel<"dy" | "x" | "dx", "count"> = elementwise({
  name: "gelu_backward",
  doc: "dx[i] = dy[i] (P(x[i]) + x[i] p(x[i])) of the normal distribution P and its density p",
  buffers: { dy: "read", x: "read", dx: "write" },
  wgsl: `${belowText("x[i]")}
  dx[i] = dy[i] * (below + x[i] * bell * ${1 / Math.sqrt(2 * Math.PI)});`,
  reference({ dy, x, dx }, { count }) {
    for (let i = 0; i < count; i++) dx[i] = dy[i] * (below(x[i]) + x[i] * density(x[i]));
  },
  wasm: true,
  tolerance: 1e-5,
});

/** The Gaussian error linear unit (Hendrycks and Gimpel 2016, arXiv:1606.08415). */
export const gelu: Kernel<"x" | "y", "count"> = elementwise({
  name: "gelu",
  doc: "y[i] = x[i] P(x[i]), where P is the normal distribution, (1 + erf(x / sqrt 2)) / 2",
  buffers: { x: "read", y: "write" },
  wgsl: `${belowText("x[i]")}
  y[i] = x[i] * below;`,
  reference({ x, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] = x[i] * below(x[i]);
  },
  wasm: true,
  gradient: anyKernel(geluBackward),
  tolerance: 1e-5,
});

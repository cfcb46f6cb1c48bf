import { elementwise } from "./elementwise.ts";
import { anyKernel, type Kernel } from "./kernel.ts";

/** The gradients of a gated unit. */
export const siluGateBackward: Kernel<"dy" | "gate" | "up" | "dgate" | "dup", "count"> = elementwise({
  name: "silu_gate_backward",
  doc:
    "dup[i] = dy[i] gate[i] s and dgate[i] = dy[i] up[i] s (1 + gate[i] (1 - s)), where s = 1 / (1 + exp(-gate[i]))",
  buffers: { dy: "read", gate: "read", up: "read", dgate: "write", dup: "write" },
  // exp of a number <= 0 cannot overflow.
  wgsl: `
  let g = gate[i];
  let e = exp(-abs(g));
  let sigmoid = select(e, T(1), g >= T(0)) / (1 + e);
  let rest = select(T(1), e, g >= T(0)) / (1 + e);
  dgate[i] = dy[i] * up[i] * sigmoid * (1 + g * rest);
  dup[i] = dy[i] * g * sigmoid;`,
  reference({ dy, gate, up, dgate, dup }, { count }) {
    for (let i = 0; i < count; i++) {
      const sigmoid = 1 / (1 + Math.exp(-gate[i]));
      dgate[i] = dy[i] * up[i] * sigmoid * (1 + gate[i] * (1 - sigmoid));
      dup[i] = dy[i] * gate[i] * sigmoid;
    }
  },
  wasm: true,
  tolerance: 1e-5,
});

/** The gated unit of a feed-forward layer. */
export const siluGate: Kernel<"gate" | "up" | "y", "count"> = elementwise({
  name: "silu_gate",
  doc: "y[i] = gate[i] / (1 + exp(-gate[i])) * up[i]",
  buffers: { gate: "read", up: "read", y: "write" },
  wgsl: `
  let g = gate[i];
  let e = exp(-abs(g));
  y[i] = g * select(e, T(1), g >= T(0)) / (1 + e) * up[i];`,
  reference({ gate, up, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] = gate[i] / (1 + Math.exp(-gate[i])) * up[i];
  },
  wasm: true,
  gradient: anyKernel(siluGateBackward),
  tolerance: 1e-5,
});

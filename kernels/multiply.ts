import { elementwise } from "./elementwise.ts";
import { anyKernel, type Kernel } from "./kernel.ts";

/** The gradients of `multiply`. */
export const multiplyBackward: Kernel<"dy" | "a" | "b" | "da" | "db", "count"> = elementwise({
  name: "multiply_backward",
  doc: "da[i] = dy[i] b[i] and db[i] = dy[i] a[i]",
  buffers: { dy: "read", a: "read", b: "read", da: "write", db: "write" },
  wgsl: `
  da[i] = dy[i] * b[i];
  db[i] = dy[i] * a[i];`,
  reference({ dy, a, b, da, db }, { count }) {
    for (let i = 0; i < count; i++) {
      da[i] = dy[i] * b[i];
      db[i] = dy[i] * a[i];
    }
  },
  tolerance: 1e-6,
});

/** The product of two tables, element by element. */
export const multiply: Kernel<"a" | "b" | "y", "count"> = elementwise({
  name: "multiply",
  doc: "y[i] = a[i] b[i]",
  buffers: { a: "read", b: "read", y: "write" },
  wgsl: "y[i] = a[i] * b[i];",
  reference({ a, b, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] = a[i] * b[i];
  },
  gradient: anyKernel(multiplyBackward),
  tolerance: 1e-6,
});

import { elementwise } from "./elementwise.ts";
import type { Kernel } from "./kernel.ts";

/** One number everywhere: zeros before gradients are added up. */
export const fill: Kernel<"y", "count" | "value"> = elementwise({
  name: "fill",
  doc: "y[i] = value",
  buffers: { y: "write" },
  uniforms: { value: "f32" },
  wgsl: "y[i] = T(uniforms.value);",
  reference({ y }, { count, value }) {
    for (let i = 0; i < count; i++) y[i] = value;
  },
  wasm: true,
  tolerance: 0,
});

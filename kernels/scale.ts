/**
 * `scale`: y *= a number that is on the device.
 *
 * @module
 */
import { elementwise } from "./elementwise.ts";
import type { Kernel } from "./kernel.ts";

/** See the module's documentation. */
export const scale: Kernel<"factor" | "y", "count"> = elementwise({
  name: "scale",
  doc: "y[i] *= factor[0]",
  buffers: { factor: { shared: "(1)" }, y: "update" },
  wgsl: "y[i] *= factor[0];",
  reference({ factor, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] *= factor[0];
  },
  tolerance: 1e-6,
});

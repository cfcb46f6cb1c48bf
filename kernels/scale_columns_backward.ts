import { scaledColumnsBackward } from "./columns/scale.ts";
import type { Kernel } from "./kernel.ts";

/** The gradients of `scale_columns`. */
export const scaleColumnsBackward: Kernel<"t" | "values" | "gradient" | "dy", "rows" | "out" | "offset"> =
  scaledColumnsBackward({
    name: "scale_columns_backward",
    doc: "gradient[offset + o] += sum over r of dy[r, o] t[r, o], in a fixed order; then " +
      "dy[r, o] *= values[offset + o]: the gradient of t in y = t values",
    overNorms: false,
    values: "factors",
  });

import { scaledColumnsBackward } from "./columns/scale.ts";
import type { Kernel } from "./kernel.ts";

/** The gradients of `magnitude`; the norms are constants, as in PEFT. */
export const magnitudeBackward: Kernel<
  "t" | "values" | "norms" | "gradient" | "dy",
  "rows" | "out" | "offset"
> = scaledColumnsBackward({
  name: "magnitude_backward",
  doc: "gradient[offset + o] += sum over r of dy[r, o] t[r, o] / norms[o], in a fixed order; then " +
    "dy[r, o] *= values[offset + o] / norms[o]: the gradient of t in y = t values / norms",
  overNorms: true,
  values: "magnitudes",
});

import { scaledColumns } from "./columns/scale.ts";
import type { Kernel } from "./kernel.ts";

/** Outputs of unit directions, times trained magnitudes: DoRA's last step, for all rows of a training batch. */
export const magnitude: Kernel<"values" | "norms" | "y", "rows" | "out" | "offset"> = scaledColumns({
  name: "magnitude",
  doc: "y[r, o] *= values[offset + o] / norms[o]",
  overNorms: true,
  values: "magnitudes",
});

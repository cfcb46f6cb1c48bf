import { scaledColumns } from "./columns/scale.ts";
import type { Kernel } from "./kernel.ts";

/** Each column times a trained number: IA3's and VeRA's vectors, for all rows of a training batch. */
export const scaleColumns: Kernel<"values" | "y", "rows" | "out" | "offset"> = scaledColumns({
  name: "scale_columns",
  doc: "y[r, o] *= values[offset + o]",
  overNorms: false,
  values: "factors",
});

/**
 * What the WASM functions of low-rank updates that every row shares have in common (kernels/assembly/lora_training.ts).
 *
 * @module
 */
import type { WasmStep } from "../kernel.ts";
import { turning } from "../linear/transposed_wasm.ts";

/** Rows of an item. */
const rowsOfItem = 48;

/** The items that rows are cut into. */
export const itemsOf = (rows: number): number => Math.ceil(rows / rowsOfItem);

/** The step that turns B to `across`. */
export function turningB(
  { in: inSize, out, rank, offset }: Readonly<Record<"in" | "out" | "rank" | "offset", number>>,
): WasmStep {
  return turning("values", "across", { rows: out, columns: rank, offset: offset + rank * inSize });
}

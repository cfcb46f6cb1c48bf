/**
 * What calls of the WASM module for products by weights in blocks share: x as they take it (kernels/assembly/packed.ts and
 * bytes.ts), and panels of many rows (kernels/assembly/panels.ts and byte_panels.ts).
 *
 * @module
 */
import type { WasmStep } from "../kernel.ts";
import { blocksOf } from "./q32/blocks.ts";

/** Orders of a block's numbers: those in which numbers of a weight are unpacked fastest. */
export const xOrders = { plain: 0, halves: 1, fourths: 2 } as const;

/** From how many rows on panels are faster, though they widen the weight first. */
const fewestOfPanels = 4;

/**
 * Groups of four outputs that are placed in a panel at once: 128 KiB, so that they stay in the second cache. 0 for so few rows
 * that they meet the weight as it is stored. A group has `blockBytes` for each block of a line.
 */
export function groupsAtOnce(rows: number, inSize: number, blockBytes = 272): number {
  if (rows < fewestOfPanels) return 0;
  return Math.max(2, Math.min(16, 2 * Math.floor(64 * 1024 / (blockBytes * blocksOf(inSize)))));
}

/** How a call rounds x to its scratch `packed`, and the bytes of that; for panels four rows stand side by side. */
export function roundedX(
  { rows, in: inSize }: { readonly rows: number; readonly in: number },
  order: keyof typeof xOrders,
  isForPanels: boolean,
): { readonly step: WasmStep; readonly bytes: number } {
  const line = 72 * blocksOf(inSize), work = 4 * rows * inSize, from = ["x", inSize, "packed"];
  if (!isForPanels) {
    const args = [...from, inSize, xOrders[order]];
    return { step: { function: "quantize_rows", args, items: rows, work }, bytes: rows * line };
  }
  const items = Math.ceil(rows / 4), args = [...from, rows, inSize, xOrders[order]];
  return { step: { function: "quantize_fours", args, items, work }, bytes: 4 * items * line };
}

/** How the bits of a weight's numbers are moved to be multiplied by bytes of x, and how x is packed for that. */
export interface MovedNumbers {
  /** What is added to each number. */
  readonly offset: number;
  /** Whether numbers of 4 bits are halves of bytes. */
  readonly inHalves: boolean;
}

/** The same as `roundedX`, to bytes. */
export function roundedToBytes(
  { rows, in: inSize }: { readonly rows: number; readonly in: number },
  { offset, inHalves }: MovedNumbers,
  isForPanels: boolean,
): { readonly step: WasmStep; readonly bytes: number } {
  const line = 40 * blocksOf(inSize), work = 4 * rows * inSize, from = ["x", inSize, "packed"];
  const order = Number(inHalves);
  if (!isForPanels) {
    const args = [...from, inSize, order, offset];
    return { step: { function: "byte_rows", args, items: rows, work }, bytes: rows * line };
  }
  const items = Math.ceil(rows / 4), args = [...from, rows, inSize, order, offset];
  return { step: { function: "byte_fours", args, items, work }, bytes: 4 * items * line };
}

/**
 * Weights whose files have them (in, out).
 *
 * @module
 */
import { type HostTensor, newArray, tensor } from "../tensor.ts";

/** Rows and columns that are turned at once: both sides of a tile are at hand. */
const tile = 32;

/** A matrix with rows for columns; its dtype stays. */
export function transposed({ data, dtype, shape: [rows, cols] }: HostTensor): HostTensor {
  const turned = newArray(dtype, rows * cols);
  for (let top = 0; top < rows; top += tile) {
    for (let left = 0; left < cols; left += tile) {
      for (let r = top; r < Math.min(top + tile, rows); r++) {
        for (let c = left; c < Math.min(left + tile, cols); c++) turned[c * rows + r] = data[r * cols + c];
      }
    }
  }
  return tensor(turned, [cols, rows], { dtype });
}

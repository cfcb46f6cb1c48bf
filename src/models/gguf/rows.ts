/**
 * Rows of queries and keys in the order of the model.
 *
 * @module
 */
import { type HostTensor, newArray, tensor } from "../../tensor.ts";

/**
 * Undoes llama.cpp's order of rows: of each head, its row 2 j is the model's row j, and 2 j + 1 the model's j + half.
 * Rows move as they are stored.
 *
 * @param t (heads * headDim, columns), or a bias (heads * headDim).
 */
export function withoutInterleaving({ data, shape, dtype }: HostTensor, heads: number): HostTensor {
  const rows = shape[0], width = data.length / rows, headDim = rows / heads, half = headDim / 2;
  const moved = newArray(dtype, data.length);
  for (let row = 0; row < rows; row++) {
    const place = row % headDim;
    const from = row - place + (place < half ? 2 * place : 2 * (place - half) + 1);
    moved.set(data.subarray(from * width, (from + 1) * width), row * width);
  }
  return tensor(moved, shape, { dtype });
}

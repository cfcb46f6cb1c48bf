/**
 * Embeddings of hidden states.
 *
 * @module
 */

/** The mean of rows of so many columns, summed in float64; scaled to length 1 with `normalize`. */
export function meanOf(rows: Float32Array, width: number, normalize: boolean): Float32Array {
  const sums = new Float64Array(width), count = rows.length / width;
  for (let i = 0; i < rows.length; i++) sums[i % width] += rows[i];
  const length = normalize ? Math.hypot(...sums) : count;
  return Float32Array.from(sums, (sum) => length === 0 ? 0 : sum / length);
}

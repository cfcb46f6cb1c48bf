/**
 * The backward of attention of packed documents in both directions, on one core; sums are float64.
 *
 * @module
 */
import type { Arrays } from "../kernel.ts";
import { dotAll, softmax, weigh } from "./cpu.ts";

/** See `packed_attention_backward`. Probabilities of one row's head are made once, for all three gradients. */
export function packedAttentionBackwardCpu(
  { q, k, v, y, dy, first, last, dq, dk, dv }: Arrays<
    "q" | "k" | "v" | "y" | "dy" | "first" | "last" | "dq" | "dk" | "dv"
  >,
  { rows, heads, headDim, scale }: Readonly<Record<"rows" | "heads" | "headDim" | "scale", number>>,
): void {
  const width = heads * headDim, sums = new Float64Array(headDim);
  const weights = new Float64Array(rows), slopes = new Float64Array(rows);
  const sumK = new Float64Array(dk.length), sumV = new Float64Array(dv.length);
  for (let r = 0; r < rows; r++) {
    const count = last[r] - first[r], size = { count, width, headDim };
    for (let h = 0; h < heads; h++) {
      const at = r * width + h * headDim, begin = first[r] * width + h * headDim;
      dotAll(weights, { mine: q, at, others: k, begin }, { ...size, factor: scale });
      dotAll(slopes, { mine: dy, at, others: v, begin }, { ...size, factor: 1 });
      const { sum } = softmax(weights, count);
      let fall = 0;
      for (let i = 0; i < headDim; i++) fall += y[at + i] * dy[at + i];
      for (let j = 0; j < count; j++) {
        weights[j] /= sum;
        slopes[j] = scale * weights[j] * (slopes[j] - fall);
      }
      sums.fill(0);
      weigh(sums, slopes, { others: k, begin }, size);
      for (let i = 0; i < headDim; i++) dq[at + i] = sums[i];
      for (let j = 0; j < count; j++) {
        const p = weights[j], s = slopes[j], to = begin + j * width;
        for (let i = 0; i < headDim; i++) {
          sumK[to + i] += s * q[at + i];
          sumV[to + i] += p * dy[at + i];
        }
      }
    }
  }
  dk.set(sumK);
  dv.set(sumV);
}

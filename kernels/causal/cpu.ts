/**
 * Causal attention of packed documents on one core, forward and backward; sums are float64.
 *
 * @module
 */
import type { Arrays, TypedArray } from "../kernel.ts";
import { softcapped, softcapSlope } from "../softcap.ts";
import { type Sizes, startOf } from "./wgsl.ts";

/** weights[j] = factor times the head at `at` of one row times the head at begin + j * width of each row of `others`. */
export function dotAll(
  weights: Float64Array,
  { mine, at, others, begin }: { mine: TypedArray; at: number; others: TypedArray; begin: number },
  { count, width, headDim, factor }: { count: number; width: number; headDim: number; factor: number },
): void {
  for (let j = 0; j < count; j += 2) {
    const first = begin + j * width, second = j + 1 < count ? first + width : first;
    let a = 0, b = 0, i = 0;
    for (; i + 2 <= headDim; i += 2) {
      const u = mine[at + i], w = mine[at + i + 1];
      a += u * others[first + i] + w * others[first + i + 1];
      b += u * others[second + i] + w * others[second + i + 1];
    }
    if (i < headDim) {
      a += mine[at + i] * others[first + i];
      b += mine[at + i] * others[second + i];
    }
    weights[j] = a * factor;
    if (j + 1 < count) weights[j + 1] = b * factor;
  }
}

/** sums[i] += weights[j] others[begin + j * width + i], four rows at a time. */
export function weigh(
  sums: Float64Array,
  weights: Float64Array,
  { others, begin }: { others: TypedArray; begin: number },
  { count, width, headDim }: { count: number; width: number; headDim: number },
): void {
  let j = 0;
  for (; j + 4 <= count; j += 4) {
    const v0 = begin + j * width, v1 = v0 + width, v2 = v1 + width, v3 = v2 + width;
    const a = weights[j], b = weights[j + 1], c = weights[j + 2], d = weights[j + 3];
    for (let i = 0; i < headDim; i++) {
      sums[i] += a * others[v0 + i] + b * others[v1 + i] + (c * others[v2 + i] + d * others[v3 + i]);
    }
  }
  for (; j < count; j++) {
    const a = weights[j], v = begin + j * width;
    for (let i = 0; i < headDim; i++) sums[i] += a * others[v + i];
  }
}

/** Caps scores, where there is a cap. */
function cap(scores: Float64Array, count: number, softcap: number): void {
  if (softcap > 0) { for (let j = 0; j < count; j++) scores[j] = softcapped(scores[j], softcap); }
}

/** Turns scores into weights whose largest is 1; returns their sum and the largest score. */
export function softmax(scores: Float64Array, count: number): { sum: number; max: number } {
  let max = -Infinity, sum = 0;
  for (let j = 0; j < count; j++) if (scores[j] > max) max = scores[j];
  for (let j = 0; j < count; j++) sum += scores[j] = Math.exp(scores[j] - max);
  return { sum, max };
}

/** See `causal_attention`. */
export function causalAttentionCpu(
  { q, k, v, first, y, logsumexp }: Arrays<"q" | "k" | "v" | "first" | "y" | "logsumexp">,
  sizes: Sizes,
): void {
  const { rows, heads, kvHeads, headDim, scale, softcap } = sizes;
  const width = kvHeads * headDim, group = heads / kvHeads;
  const weights = new Float64Array(rows), sums = new Float64Array(headDim);
  for (let r = 0; r < rows; r++) {
    const start = startOf(r, first[r], sizes), count = r + 1 - start;
    for (let h = 0; h < heads; h++) {
      const at = (r * heads + h) * headDim;
      const begin = start * width + Math.floor(h / group) * headDim;
      dotAll(weights, { mine: q, at, others: k, begin }, { count, width, headDim, factor: scale });
      cap(weights, count, softcap);
      const { sum, max } = softmax(weights, count);
      sums.fill(0);
      weigh(sums, weights, { others: v, begin }, { count, width, headDim });
      for (let i = 0; i < headDim; i++) y[at + i] = sums[i] / sum;
      logsumexp[r * heads + h] = max + Math.log(sum);
    }
  }
}

/** See `causal_attention_backward`. Probabilities of one row's head are made once, for all three gradients. */
export function causalAttentionBackwardCpu(
  arrays: Arrays<"q" | "k" | "v" | "y" | "dy" | "logsumexp" | "first" | "last" | "dq" | "dk" | "dv">,
  sizes: Sizes,
): void {
  const { rows, heads, kvHeads, headDim, scale, softcap } = sizes;
  const { q, k, v, y, dy, logsumexp, first, dq, dk, dv } = arrays;
  const width = kvHeads * headDim, group = heads / kvHeads;
  const weights = new Float64Array(rows), slopes = new Float64Array(rows), sums = new Float64Array(headDim);
  const sumK = new Float64Array(dk.length), sumV = new Float64Array(dv.length);
  for (let r = 0; r < rows; r++) {
    const start = startOf(r, first[r], sizes), count = r + 1 - start;
    for (let h = 0; h < heads; h++) {
      const at = (r * heads + h) * headDim;
      const begin = start * width + Math.floor(h / group) * headDim;
      const size = { count, width, headDim };
      dotAll(weights, { mine: q, at, others: k, begin }, { ...size, factor: scale });
      cap(weights, count, softcap);
      dotAll(slopes, { mine: dy, at, others: v, begin }, { ...size, factor: 1 });
      let fall = 0;
      for (let i = 0; i < headDim; i++) fall += y[at + i] * dy[at + i];
      const log = logsumexp[r * heads + h];
      for (let j = 0; j < count; j++) {
        const slope = softcap > 0 ? softcapSlope(weights[j], softcap) : 1;
        weights[j] = Math.exp(weights[j] - log);
        slopes[j] = scale * slope * weights[j] * (slopes[j] - fall);
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

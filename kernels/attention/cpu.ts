/**
 * Attention on one core: scores of all heads of two keys at a time, values four at a time, caches read as they lie.
 *
 * @module
 */
import type { Arrays, TypedArray } from "../kernel.ts";
import { softcapped } from "../softcap.ts";
import type { uniforms } from "./wgsl.ts";

type Buffers = "q" | "keys" | "values" | "first" | "lastKey" | "y";
type Sizes = Readonly<Record<keyof typeof uniforms, number>>;

/** The keys a row attends to: cache rows `[start, end)`, never past the cache. */
export function span(
  first: number,
  lastKey: number,
  { cacheRows, window }: Pick<Sizes, "cacheRows" | "window">,
): [start: number, end: number] {
  const skipped = window > 0 ? Math.max(0, lastKey + 1 - window) : 0;
  return [Math.min(first + skipped, cacheRows), Math.min(first + lastKey + 1, cacheRows)];
}

/** A row's keys on the CPU: where they begin, and how many. All heads of a key are met together, as they lie. */
interface Row {
  readonly query: number;
  readonly begin: number;
  readonly count: number;
  /** Scores, then weights: (heads, stride). */
  readonly scores: Float64Array;
  readonly stride: number;
}

/** scores[h, j] = scale times head h of the query times key j, two keys and two elements a step. */
function score({ q, keys }: Arrays<"q" | "keys">, row: Row, sizes: Sizes): void {
  const { heads, kvHeads, headDim, scale, softcap } = sizes;
  const { begin, count, scores, stride } = row;
  const width = kvHeads * headDim, group = heads / kvHeads;
  for (let j = 0; j < count; j += 2) {
    const key = begin + j * width, next = j + 1 < count ? width : 0;
    for (let h = 0; h < heads; h++) {
      const query = row.query + h * headDim;
      const k0 = key + Math.floor(h / group) * headDim, k1 = k0 + next;
      let a = 0, b = 0, i = 0;
      for (; i + 2 <= headDim; i += 2) {
        const u = q[query + i], v = q[query + i + 1];
        a += u * keys[k0 + i] + v * keys[k0 + i + 1];
        b += u * keys[k1 + i] + v * keys[k1 + i + 1];
      }
      if (i < headDim) {
        a += q[query + i] * keys[k0 + i];
        b += q[query + i] * keys[k1 + i];
      }
      scores[h * stride + j] = softcap > 0 ? softcapped(a * scale, softcap) : a * scale;
      scores[h * stride + j + 1] = softcap > 0 ? softcapped(b * scale, softcap) : b * scale;
    }
  }
}

/** Turns a head's scores into weights, the largest 1, and 0 behind the last; returns their sum. */
function softmax({ count, scores, stride }: Row, head: number): number {
  const begin = head * stride, end = begin + count;
  let max = -Infinity, sum = 0;
  for (let j = begin; j < end; j++) if (scores[j] > max) max = scores[j];
  for (let j = begin; j < end; j++) sum += scores[j] = Math.exp(scores[j] - max);
  for (let j = end; j < begin + 4 * Math.ceil(count / 4); j++) scores[j] = 0;
  return sum;
}

/** sums[h, :] = the values weighted, four at a time; past the last it takes the last again, with weight 0. */
function weigh(sums: Float64Array, values: TypedArray, row: Row, { heads, kvHeads, headDim }: Sizes): void {
  const { begin, count, scores, stride } = row;
  const width = kvHeads * headDim, group = heads / kvHeads, last = count - 1;
  sums.fill(0);
  for (let j = 0; j < count; j += 4) {
    const next = Math.min(j + 1, last), third = Math.min(j + 2, last), fourth = Math.min(j + 3, last);
    for (let h = 0; h < heads; h++) {
      const at = begin + Math.floor(h / group) * headDim;
      const v0 = at + j * width, v1 = at + next * width, v2 = at + third * width, v3 = at + fourth * width;
      const s = h * stride + j, out = h * headDim;
      const a = scores[s], b = scores[s + 1], c = scores[s + 2], d = scores[s + 3];
      for (let i = 0; i < headDim; i++) {
        sums[out + i] += a * values[v0 + i] + b * values[v1 + i] + (c * values[v2 + i] + d * values[v3 + i]);
      }
    }
  }
}

/** Attention on one core; see the kernel's documentation. */
export function attentionCpu(arrays: Arrays<Buffers>, uniforms: Sizes): void {
  const { rows, heads, kvHeads, headDim, qStride } = uniforms;
  const { first, lastKey, y } = arrays;
  const spans = Array.from({ length: rows }, (_, r) => span(first[r], lastKey[r], uniforms));
  const most = spans.reduce((most, [start, end]) => Math.max(most, end - start), 0);
  const stride = 4 * Math.ceil(most / 4);
  const scores = new Float64Array(heads * stride);
  const totals = new Float64Array(heads), sums = new Float64Array(heads * headDim);
  spans.forEach(([start, end], r) => {
    const result = r * heads * headDim;
    const row: Row = {
      query: r * qStride,
      begin: start * kvHeads * headDim,
      count: end - start,
      scores,
      stride,
    };
    score(arrays, row, uniforms);
    for (let h = 0; h < heads; h++) totals[h] = softmax(row, h);
    weigh(sums, arrays.values, row, uniforms);
    for (let i = 0; i < sums.length; i++) {
      const total = totals[Math.floor(i / headDim)];
      y[result + i] = total > 0 ? sums[i] / total : 0;
    }
  });
}

/**
 * Attention on one core: scores of all heads of two keys at a time, values four at a time.
 *
 * @module
 */
import type { CacheFormat } from "../caches/format.ts";
import type { Arrays, TypedArray } from "../kernel.ts";
import { softcapped } from "../softcap.ts";
import type { uniforms } from "./wgsl.ts";

type Buffers = "q" | "keys" | "values" | "blockTable" | "first" | "lastKey" | "y";
type Sizes = Readonly<Record<keyof typeof uniforms, number>>;

/** The keys a row attends to: positions `[start, end)`, no more than the cache or the table has. */
export function span(
  first: number,
  lastKey: number,
  { cacheRows, blockSize, tableSize, window }: Pick<
    Sizes,
    "cacheRows" | "blockSize" | "tableSize" | "window"
  >,
): [start: number, end: number] {
  const skipped = window > 0 ? Math.max(0, lastKey + 1 - window) : 0;
  const end = Math.min(lastKey + 1, cacheRows, Math.max(0, tableSize - first) * blockSize);
  return [Math.min(skipped, end), end];
}

/** The cache rows of a row's keys. */
export function placesOf(
  { blockTable, first, span: [start, end] }: {
    readonly blockTable: TypedArray;
    readonly first: number;
    readonly span: readonly [start: number, end: number];
  },
  { blockSize }: Pick<Sizes, "blockSize">,
): Uint32Array {
  const places = new Uint32Array(end - start);
  for (let j = start; j < end; j++) {
    places[j - start] = blockTable[first + Math.floor(j / blockSize)] * blockSize + j % blockSize;
  }
  return places;
}

/** A row's keys on the CPU: their cache rows, and how many. All heads of a key are met together, as they lie. */
interface Row {
  readonly query: number;
  readonly places: Uint32Array;
  readonly count: number;
  /** Scores, then weights: (heads, stride). */
  readonly scores: Float64Array;
  readonly stride: number;
}

/** scores[h, j] = scale times head h of the query times key j, two keys and two elements a step. */
function score({ q, keys }: Arrays<"q" | "keys">, row: Row, sizes: Sizes): void {
  const { heads, kvHeads, headDim, scale, softcap } = sizes;
  const { places, count, scores, stride } = row;
  const width = kvHeads * headDim, group = heads / kvHeads;
  for (let j = 0; j < count; j += 2) {
    const key = places[j] * width, next = places[Math.min(j + 1, count - 1)] * width;
    for (let h = 0; h < heads; h++) {
      const query = row.query + h * headDim, head = Math.floor(h / group) * headDim;
      const k0 = key + head, k1 = next + head;
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
  const { places, count, scores, stride } = row;
  const width = kvHeads * headDim, group = heads / kvHeads, last = count - 1;
  sums.fill(0);
  for (let j = 0; j < count; j += 4) {
    const first = places[j] * width, second = places[Math.min(j + 1, last)] * width;
    const third = places[Math.min(j + 2, last)] * width, fourth = places[Math.min(j + 3, last)] * width;
    for (let h = 0; h < heads; h++) {
      const at = Math.floor(h / group) * headDim;
      const v0 = at + first, v1 = at + second, v2 = at + third, v3 = at + fourth;
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
  const { rows, heads, headDim, qStride } = uniforms;
  const { blockTable, first, lastKey, y } = arrays;
  const spans = Array.from({ length: rows }, (_, r) => span(first[r], lastKey[r], uniforms));
  const most = spans.reduce((most, [start, end]) => Math.max(most, end - start), 0);
  const stride = 4 * Math.ceil(most / 4);
  const scores = new Float64Array(heads * stride);
  const totals = new Float64Array(heads), sums = new Float64Array(heads * headDim);
  spans.forEach((span, r) => {
    const result = r * heads * headDim;
    const row: Row = {
      query: r * qStride,
      places: placesOf({ blockTable, first: first[r], span }, uniforms),
      count: span[1] - span[0],
      scores,
      stride,
    };
    score(arrays, row, uniforms);
    for (let h = 0; h < heads; h++) totals[h] = softmax(row, h);
    weigh(sums, arrays.values, row, uniforms);
    for (let i = 0; i < sums.length; i++) {
      y[result + i] = row.count > 0 ? sums[i] / totals[Math.floor(i / headDim)] : 0;
    }
  });
}

/** Attention over packed caches on one core: a row at a time, whose keys and values are widened first. */
export function packedCpu(format: CacheFormat, arrays: Arrays<Buffers>, uniforms: Sizes): void {
  const { rows, heads, kvHeads, headDim, qStride } = uniforms, width = kvHeads * headDim;
  const { q, blockTable, first, lastKey, y } = arrays;
  for (let r = 0; r < rows; r++) {
    const places = placesOf(
      { blockTable, first: first[r], span: span(first[r], lastKey[r], uniforms) },
      uniforms,
    );
    const count = places.length;
    const wide = (cache: TypedArray): Float32Array => {
      const into = new Float32Array(count * width);
      places.forEach((row, j) => {
        for (let head = 0; head < kvHeads; head++) {
          format.read(cache, { row, head }, { into, at: j * width + head * headDim }, uniforms);
        }
      });
      return into;
    };
    const own: Arrays<Buffers> = {
      ...{ q: q.subarray(r * qStride), keys: wide(arrays.keys), values: wide(arrays.values) },
      ...{ blockTable: Uint32Array.of(0), first: Uint32Array.of(0), lastKey: Uint32Array.of(count - 1) },
      y: y.subarray(r * heads * headDim, (r + 1) * heads * headDim),
    };
    if (count === 0) own.y.fill(0);
    else {attentionCpu(own, {
        ...uniforms,
        rows: 1,
        cacheRows: count,
        blockSize: count,
        tableSize: 1,
        window: 0,
      });}
  }
}

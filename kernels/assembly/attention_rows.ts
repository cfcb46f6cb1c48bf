// deno-fmt-ignore-file: the formatter drops `@inline`.
// Attention of many rows over a cache: four neighbouring rows of one sequence meet its keys and values together, with a lane
// for each row in their scores. Each row has the same bits as alone (attention.ts).
import { attention, cap, runsOf } from "./attention";
import { exp, loadTail, multiplyAdd, sums } from "./lanes";

/** Rows of an item. */
const rowsOfItem: usize = 4;

/** A lane of a vector, four times. */
@inline
function lane(v: v128, index: u8): v128 {
  if (index == 0) return i32x4.shuffle(v, v, 0, 0, 0, 0);
  if (index == 1) return i32x4.shuffle(v, v, 1, 1, 1, 1);
  return index == 2 ? i32x4.shuffle(v, v, 2, 2, 2, 2) : i32x4.shuffle(v, v, 3, 3, 3, 3);
}

/** scores = scale times the products of four queries, `qStride` bytes apart, with two keys: a vector for each key. */
@inline
function scoreTwo(q: usize, qStride: usize, k0: usize, k1: usize, headDim: usize, scale: v128, scores: usize): void {
  const q1 = q + qStride, q2 = q1 + qStride, q3 = q2 + qStride, end = (headDim & ~3) << 2, rest = headDim & 3;
  let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
  for (let i: usize = 0; i < end; i += 16) {
    const u = v128.load(k0 + i), v = v128.load(k1 + i);
    let t = v128.load(q + i);
    a = multiplyAdd(a, t, u), e = multiplyAdd(e, t, v), t = v128.load(q1 + i);
    b = multiplyAdd(b, t, u), f = multiplyAdd(f, t, v), t = v128.load(q2 + i);
    c = multiplyAdd(c, t, u), g = multiplyAdd(g, t, v), t = v128.load(q3 + i);
    d = multiplyAdd(d, t, u), h = multiplyAdd(h, t, v);
  }
  if (rest) {
    const u = loadTail(k0 + end, rest), v = loadTail(k1 + end, rest);
    let t = loadTail(q + end, rest);
    a = multiplyAdd(a, t, u), e = multiplyAdd(e, t, v), t = loadTail(q1 + end, rest);
    b = multiplyAdd(b, t, u), f = multiplyAdd(f, t, v), t = loadTail(q2 + end, rest);
    c = multiplyAdd(c, t, u), g = multiplyAdd(g, t, v), t = loadTail(q3 + end, rest);
    d = multiplyAdd(d, t, u), h = multiplyAdd(h, t, v);
  }
  v128.store(scores, f32x4.mul(sums(a, b, c, d), scale));
  v128.store(scores, f32x4.mul(sums(e, f, g, h), scale), 16);
}

/** Scores of four queries with the keys of all runs, and of a last key twice where a run has an odd number. */
function scoreRuns(
  q: usize,
  qStride: usize,
  keys: usize,
  stride: usize,
  runs: usize,
  runCount: usize,
  headDim: usize,
  scale: f32,
  scores: usize,
): void {
  const factor = f32x4.splat(scale);
  for (const end = runs + (runCount << 3); runs < end; runs += 8) {
    const size = <usize> load<u32>(runs, 4);
    let key = keys + <usize> load<u32>(runs) * stride;
    for (let j: usize = 0; j < size; j += 2, key += stride << 1, scores += 32) {
      scoreTwo(q, qStride, key, j + 1 < size ? key + stride : key, headDim, factor, scores);
    }
    if (size & 1) scores -= 16;
  }
}

/**
 * Turns scores into weights; those behind a row's count into zeros. The sums of the weights, added up as `softmax` of
 * attention.ts does.
 */
function softmaxFour(scores: usize, common: usize, most: usize, counts: v128): v128 {
  let top = f32x4.splat(-Infinity);
  const none = top, shared = scores + (common << 4), end = scores + (most << 4);
  let j = i32x4.splat(<i32> common);
  for (let at = shared; at < end; at += 16, j = i32x4.add(j, i32x4.splat(1))) {
    v128.store(at, v128.bitselect(v128.load(at), none, i32x4.gt_s(counts, j)));
  }
  for (let at = scores; at < end; at += 16) top = f32x4.max(top, v128.load(at));
  let a = f32x4.splat(0), b = a, c = a, d = a;
  for (let at = scores; at < end; at += 16) {
    const weight = exp(f32x4.sub(v128.load(at), top)), sum = f32x4.add(a, weight);
    v128.store(at, weight);
    a = b, b = c, c = d, d = sum;
  }
  return f32x4.add(f32x4.add(a, c), f32x4.add(b, d));
}

/** Weighted sums of the values of the first `count` keys, to four rows of y; two vectors of a head's elements at a time. */
function weighFour(
  weights: usize,
  values: usize,
  stride: usize,
  runs: usize,
  count: usize,
  headDim: usize,
  y: usize,
  yStride: usize,
): void {
  const y1 = y + yStride, y2 = y1 + yStride, y3 = y2 + yStride, behind = weights + (count << 4);
  for (let i: usize = 0; i < headDim << 2; i += 32) {
    let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
    for (let weight = weights, run = runs; weight < behind; run += 8) {
      let value = values + <usize> load<u32>(run) * stride + i;
      const end = min(weight + (<usize> load<u32>(run, 4) << 4), behind);
      for (; weight < end; weight += 16, value += stride) {
        const w = v128.load(weight), u = v128.load(value), v = v128.load(value, 16);
        let t = lane(w, 0);
        a = multiplyAdd(a, t, u), e = multiplyAdd(e, t, v), t = lane(w, 1);
        b = multiplyAdd(b, t, u), f = multiplyAdd(f, t, v), t = lane(w, 2);
        c = multiplyAdd(c, t, u), g = multiplyAdd(g, t, v), t = lane(w, 3);
        d = multiplyAdd(d, t, u), h = multiplyAdd(h, t, v);
      }
    }
    v128.store(y + i, a), v128.store(y + i, e, 16);
    v128.store(y1 + i, b), v128.store(y1 + i, f, 16);
    v128.store(y2 + i, c), v128.store(y2 + i, g, 16);
    v128.store(y3 + i, d), v128.store(y3 + i, h, 16);
  }
}

/** y = inverse (y + the weighted values of keys from `begin` to `count`) of one row, whose weights are 16 bytes apart. */
function finish(
  weights: usize,
  values: usize,
  stride: usize,
  blocks: usize,
  blockSize: usize,
  begin: usize,
  count: usize,
  headDim: usize,
  inverse: v128,
  y: usize,
): void {
  for (let i: usize = 0; i < headDim << 2; i += 16) {
    let sum = v128.load(y + i);
    for (let j = begin; j < count; j++) {
      const place = <usize> load<u32>(blocks + (j / blockSize << 2)) * blockSize + j % blockSize;
      sum = multiplyAdd(sum, v128.load32_splat(weights + (j << 4)), v128.load(values + place * stride + i));
    }
    v128.store(y + i, f32x4.mul(sum, inverse));
  }
}

/** How many keys a row has: those up to its last one that the cache and the table hold. */
@inline
function countOf(lastKey: usize, mostKeys: u64): usize {
  return <usize> min(<u64> load<u32>(lastKey) + 1, mostKeys);
}

/**
 * See the kernel's documentation. Arguments are those of `attention`, and how many rows there are; `scores` holds four times as
 * many. An item is a head of four rows. Rows that do not share a sequence, or a window, are done alone.
 */
export function attention_rows(
  q: usize,
  qStride: usize,
  keys: usize,
  values: usize,
  blockTable: usize,
  firstBlocks: usize,
  lastKeys: usize,
  y: usize,
  yStride: usize,
  scores: usize,
  runs: usize,
  heads: usize,
  kvHeads: usize,
  headDim: usize,
  cacheRows: u32,
  blockSize: u32,
  tableSize: u32,
  window: u32,
  scale: f32,
  softcap: f32,
  rows: usize,
  first: usize,
  behind: usize,
): void {
  const stride = (kvHeads * headDim) << 2, group = heads / kvHeads;
  for (let n = first; n < behind; n++) {
    const r = n / heads * rowsOfItem, h = n % heads, at = r << 2;
    const begin = load<u32>(firstBlocks + at), entries = tableSize - min(begin, tableSize);
    const mostKeys = min(<u64> cacheRows, <u64> entries * blockSize), last = lastKeys + at;
    let isShared = headDim % 8 == 0 && r + rowsOfItem <= rows, common: usize = 0, most: usize = 0;
    for (let i: usize = 0; isShared && i < rowsOfItem; i++) {
      const count = countOf(last + (i << 2), mostKeys);
      const isWhole = window == 0 || load<u32>(last + (i << 2)) < window;
      isShared = isWhole && load<u32>(firstBlocks + at + (i << 2)) == begin;
      common = i == 0 ? count : min(common, count), most = max(most, count);
    }
    if (!isShared || common == 0) {
      for (let row = r; row < min(r + rowsOfItem, rows); row++) {
        const item = row * heads + h;
        attention(
          q, qStride, keys, values, blockTable, firstBlocks, lastKeys, y, yStride, scores, runs,
          heads, kvHeads, headDim, cacheRows, blockSize, tableSize, window, scale, softcap, item, item + 1,
        );
      }
      continue;
    }
    const blocks = blockTable + (<usize> begin << 2), head = (h / group) * (headDim << 2);
    const runCount = runsOf(blocks, blockSize, 0, <u32> most, runs);
    const from = q + ((r * qStride + h * headDim) << 2), to = y + ((r * yStride + h * headDim) << 2);
    scoreRuns(from, qStride << 2, keys + head, stride, runs, runCount, headDim, scale, scores);
    if (softcap > 0) cap(scores, most << 2, softcap);
    const inverse = f32x4.div(f32x4.splat(1), softmaxFour(scores, common, most, countsOf(last, mostKeys)));
    weighFour(scores, values + head, stride, runs, common, headDim, to, yStride << 2);
    for (let i: usize = 0; i < rowsOfItem; i++) {
      const count = countOf(last + (i << 2), mostKeys), row = to + i * (yStride << 2);
      const factor = i == 0 ? lane(inverse, 0) : i == 1 ? lane(inverse, 1) : i == 2 ? lane(inverse, 2) : lane(inverse, 3);
      finish(scores + (i << 2), values + head, stride, blocks, blockSize, common, count, headDim, factor, row);
    }
  }
}

/** The counts of four rows. */
@inline
function countsOf(last: usize, mostKeys: u64): v128 {
  const a = i32x4.splat(<i32> countOf(last, mostKeys)), b = i32x4.splat(<i32> countOf(last + 4, mostKeys));
  const c = i32x4.splat(<i32> countOf(last + 8, mostKeys)), d = i32x4.splat(<i32> countOf(last + 12, mostKeys));
  return i64x2.shuffle(i32x4.shuffle(a, b, 0, 4, 0, 4), i32x4.shuffle(c, d, 0, 4, 0, 4), 0, 2);
}

// Attention over a cache: a row's head at a time, its scores in scratch.
import { dot } from "./linear";
import { exp, largest, loadTail, multiplyAdd, storeTail, sum, sums } from "./lanes";

/** scores[j] = scale q . keys[j], `stride` bytes from key to key. */
export function score(
  q: usize,
  keys: usize,
  stride: usize,
  count: usize,
  headDim: usize,
  scale: f32,
  scores: usize,
): void {
  const end = (headDim & ~3) << 2, rest = headDim & 3, fours = count & ~3;
  for (let j: usize = 0; j < fours; j += 4) {
    const k0 = keys + j * stride, k1 = k0 + stride, k2 = k1 + stride, k3 = k2 + stride;
    let a = f32x4.splat(0), b = a, c = a, d = a;
    for (let i: usize = 0; i < end; i += 16) {
      const v = v128.load(q + i);
      a = multiplyAdd(a, v, v128.load(k0 + i));
      b = multiplyAdd(b, v, v128.load(k1 + i));
      c = multiplyAdd(c, v, v128.load(k2 + i));
      d = multiplyAdd(d, v, v128.load(k3 + i));
    }
    if (rest) {
      const v = loadTail(q + end, rest);
      a = multiplyAdd(a, v, loadTail(k0 + end, rest));
      b = multiplyAdd(b, v, loadTail(k1 + end, rest));
      c = multiplyAdd(c, v, loadTail(k2 + end, rest));
      d = multiplyAdd(d, v, loadTail(k3 + end, rest));
    }
    v128.store(scores + (j << 2), f32x4.mul(sums(a, b, c, d), f32x4.splat(scale)));
  }
  for (let j = fours; j < count; j++) {
    store<f32>(scores + (j << 2), scale * dot<f32>(q, keys + j * stride, headDim));
  }
}

/** scores = softcap tanh(scores / softcap), with whatever stands up to the next multiple of four. */
export function cap(scores: usize, count: usize, softcap: f32): void {
  const end = ((count + 3) & ~3) << 2, factor = f32x4.splat(-2 / softcap), one = f32x4.splat(1);
  for (let i: usize = 0; i < end; i += 16) {
    const score = v128.load(scores + i), e = exp(f32x4.mul(f32x4.abs(score), factor));
    const size = f32x4.mul(f32x4.splat(softcap), f32x4.div(f32x4.sub(one, e), f32x4.add(one, e)));
    const sign = v128.and(score, i32x4.splat(0x80000000));
    v128.store(scores + i, v128.or(size, sign));
  }
}

/** Turns scores into weights of which the largest is 1, with zeros up to the next multiple of four; their sum. */
export function softmax(scores: usize, count: usize): f32 {
  const padded = (count + 3) & ~3;
  for (let j = count; j < padded; j++) store<f32>(scores + (j << 2), -Infinity);
  const end = padded << 2;
  let most = f32x4.splat(-Infinity);
  for (let i: usize = 0; i < end; i += 16) most = f32x4.max(most, v128.load(scores + i));
  const top = f32x4.splat(largest(most));
  let total = f32x4.splat(0);
  for (let i: usize = 0; i < end; i += 16) {
    const weight = exp(f32x4.sub(v128.load(scores + i), top));
    v128.store(scores + i, weight);
    total = f32x4.add(total, weight);
  }
  return sum(total);
}

/** y = the values weighted, times `factor`; four vectors of a head's elements at a time. */
export function weigh(
  weights: usize,
  values: usize,
  stride: usize,
  count: usize,
  headDim: usize,
  factor: f32,
  y: usize,
): void {
  const scale = f32x4.splat(factor), all = headDim << 2;
  let i: usize = 0;
  for (; i + 64 <= all; i += 64) {
    let a = f32x4.splat(0), b = a, c = a, d = a;
    let value = values + i;
    for (let j: usize = 0; j < count; j++, value += stride) {
      const w = v128.load32_splat(weights + (j << 2));
      a = multiplyAdd(a, w, v128.load(value));
      b = multiplyAdd(b, w, v128.load(value, 16));
      c = multiplyAdd(c, w, v128.load(value, 32));
      d = multiplyAdd(d, w, v128.load(value, 48));
    }
    v128.store(y + i, f32x4.mul(a, scale));
    v128.store(y + i, f32x4.mul(b, scale), 16);
    v128.store(y + i, f32x4.mul(c, scale), 32);
    v128.store(y + i, f32x4.mul(d, scale), 48);
  }
  for (; i < all; i += 16) {
    const rest = min(<usize> 4, (all - i) >> 2);
    let a = f32x4.splat(0);
    let value = values + i;
    for (let j: usize = 0; j < count; j++, value += stride) {
      const v = rest == 4 ? v128.load(value) : loadTail(value, rest);
      a = multiplyAdd(a, v128.load32_splat(weights + (j << 2)), v);
    }
    a = f32x4.mul(a, scale);
    if (rest == 4) v128.store(y + i, a);
    else storeTail(y + i, a, rest);
  }
}

/**
 * Writes the runs of neighbouring cache rows that keys `[start, end)` of a sequence have: (first row, rows), u32 each.
 * Returns their number.
 */
export function runsOf(blocks: usize, blockSize: u32, start: u32, end: u32, runs: usize): usize {
  let count: usize = 0, next: u32 = 0;
  for (let key = start; key < end;) {
    const offset = key % blockSize, size = min(blockSize - offset, end - key);
    const place = load<u32>(blocks + (<usize> (key / blockSize) << 2)) * blockSize + offset;
    if (count > 0 && place == next) {
      const last = runs + ((count - 1) << 3);
      store<u32>(last, load<u32>(last, 4) + size, 4);
    } else {
      const at = runs + (count << 3);
      store<u32>(at, place);
      store<u32>(at, size, 4);
      count++;
    }
    next = place + size;
    key += size;
  }
  return count;
}

/** As `weigh`, of values in runs of cache rows; `values` is where the head of the first row begins. */
function weighRuns(
  weights: usize,
  values: usize,
  stride: usize,
  runs: usize,
  runCount: usize,
  headDim: usize,
  factor: f32,
  y: usize,
): void {
  const scale = f32x4.splat(factor), all = headDim << 2, runsEnd = runs + (runCount << 3);
  let i: usize = 0;
  for (; i + 64 <= all; i += 64) {
    let a = f32x4.splat(0), b = a, c = a, d = a;
    let weight = weights;
    for (let run = runs; run < runsEnd; run += 8) {
      let value = values + <usize> load<u32>(run) * stride + i;
      for (
        const end = weight + (<usize> load<u32>(run, 4) << 2);
        weight < end;
        weight += 4, value += stride
      ) {
        const w = v128.load32_splat(weight);
        a = multiplyAdd(a, w, v128.load(value));
        b = multiplyAdd(b, w, v128.load(value, 16));
        c = multiplyAdd(c, w, v128.load(value, 32));
        d = multiplyAdd(d, w, v128.load(value, 48));
      }
    }
    v128.store(y + i, f32x4.mul(a, scale));
    v128.store(y + i, f32x4.mul(b, scale), 16);
    v128.store(y + i, f32x4.mul(c, scale), 32);
    v128.store(y + i, f32x4.mul(d, scale), 48);
  }
  for (; i < all; i += 16) {
    const rest = min(<usize> 4, (all - i) >> 2);
    let a = f32x4.splat(0);
    let weight = weights;
    for (let run = runs; run < runsEnd; run += 8) {
      let value = values + <usize> load<u32>(run) * stride + i;
      for (
        const end = weight + (<usize> load<u32>(run, 4) << 2);
        weight < end;
        weight += 4, value += stride
      ) {
        const v = rest == 4 ? v128.load(value) : loadTail(value, rest);
        a = multiplyAdd(a, v128.load32_splat(weight), v);
      }
    }
    a = f32x4.mul(a, scale);
    if (rest == 4) v128.store(y + i, a);
    else storeTail(y + i, a, rest);
  }
}

/**
 * See the kernel's documentation. q and y have strides from row to row. `scores` holds a score for each key of a row, and
 * three more; `runs` holds two words for each block of a row, and two more. An item is a head of a row.
 */
export function attention(
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
  first: usize,
  behind: usize,
): void {
  const stride = (kvHeads * headDim) << 2, group = heads / kvHeads;
  let row: usize = -1, start: u32 = 0, end: u32 = 0, runCount: usize = 0;
  for (let n = first; n < behind; n++) {
    const r = n / heads, h = n % heads;
    if (r != row) {
      const begin = load<u32>(firstBlocks + (r << 2)), entries = tableSize - min(begin, tableSize);
      const length = <u64> load<u32>(lastKeys + (r << 2)) + 1;
      const skipped = window > 0 && length > window ? length - window : 0;
      end = <u32> min(min(length, <u64> cacheRows), <u64> entries * blockSize);
      start = <u32> min(skipped, <u64> end);
      runCount = runsOf(blockTable + (<usize> begin << 2), blockSize, start, end, runs);
      row = r;
    }
    const count = <usize> (end - start), head = (h / group) * (headDim << 2);
    const from = q + ((r * qStride + h * headDim) << 2), to = y + ((r * yStride + h * headDim) << 2);
    if (count == 0) {
      memory.fill(to, 0, headDim << 2);
      continue;
    }
    let done: usize = 0;
    for (let run: usize = 0; run < runCount; run++) {
      const at = runs + (run << 3), size = <usize> load<u32>(at, 4);
      const place = keys + <usize> load<u32>(at) * stride + head;
      score(from, place, stride, size, headDim, scale, scores + (done << 2));
      done += size;
    }
    if (softcap > 0) cap(scores, count, softcap);
    const total = softmax(scores, count);
    weighRuns(scores, values + head, stride, runs, runCount, headDim, <f32> 1 / total, to);
  }
}

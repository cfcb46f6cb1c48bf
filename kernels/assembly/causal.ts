// Attention of packed documents, causal and in both directions, forward and backward: a row's head at a time, its scores in scratch.
import { score, softmax, weigh } from "./attention";
import { exp, largest, loadTail, log, multiplyAdd, storeTail } from "./lanes";
import { dot } from "./linear";

/** See the kernel's documentation. Scratch holds a score for each row, and three more. An item is a head of a row. */
export function causal_attention(
  q: usize,
  k: usize,
  v: usize,
  first: usize,
  y: usize,
  logsumexp: usize,
  scratch: usize,
  heads: usize,
  kvHeads: usize,
  headDim: usize,
  window: usize,
  scale: f32,
  begin: usize,
  end: usize,
): void {
  const stride = (kvHeads * headDim) << 2, group = heads / kvHeads, head = headDim << 2;
  for (let n = begin; n < end; n++) {
    const r = n / heads, start = startOf(first, r, window), count = r + 1 - start;
    const at = start * stride + (n % heads / group) * head;
    score(q + n * head, k + at, stride, count, headDim, scale, scratch);
    const top = highest(scratch, count), total = softmax(scratch, count);
    weigh(scratch, v + at, stride, count, headDim, <f32> 1 / total, y + n * head);
    store<f32>(logsumexp + (n << 2), <f32> (<f64> top + log(<f64> total)));
  }
}

/** The first row that row r attends to: of its document, and of its window where there is one. */
function startOf(first: usize, r: usize, window: usize): usize {
  const start = <usize> load<u32>(first + (r << 2));
  return window > 0 && r >= window ? max(start, r + 1 - window) : start;
}

/** The largest of some scores. */
function highest(scores: usize, count: usize): f32 {
  const end = (count & ~3) << 2;
  let most = f32x4.splat(-Infinity);
  for (let i: usize = 0; i < end; i += 16) most = f32x4.max(most, v128.load(scores + i));
  let top = largest(most);
  for (let i = end; i < count << 2; i += 4) top = max(top, load<f32>(scores + i));
  return top;
}

/** to += factor from, `count` elements. */
function addScaled(to: usize, from: usize, factor: v128, count: usize): void {
  const end = (count & ~3) << 2, rest = count & 3;
  for (let i: usize = 0; i < end; i += 16) {
    v128.store(to + i, multiplyAdd(v128.load(to + i), factor, v128.load(from + i)));
  }
  if (rest) {
    storeTail(to + end, multiplyAdd(loadTail(to + end, rest), factor, loadTail(from + end, rest)), rest);
  }
}

/** Turns scores into probabilities, and the products of dy and values into slopes of the scores. */
function slopesOf(scores: usize, slopes: usize, count: usize, logsumexp: f32, fall: f32, scale: f32): void {
  const whole = f32x4.splat(logsumexp), less = f32x4.splat(fall), by = f32x4.splat(scale);
  for (let i: usize = 0; i < count << 2; i += 16) {
    const p = exp(f32x4.sub(v128.load(scores + i), whole));
    v128.store(scores + i, p);
    v128.store(slopes + i, f32x4.mul(by, f32x4.mul(p, f32x4.sub(v128.load(slopes + i), less))));
  }
}

/** Rows whose documents one item takes. */
const rowsOfItem: usize = 64;

/**
 * See the kernel's documentation. `scores` and `slopes` hold a number for each row, and three more. An item is a key head of the
 * documents that begin in 64 rows: no other item adds to their gradients.
 */
export function causal_attention_backward(
  q: usize,
  k: usize,
  v: usize,
  y: usize,
  dy: usize,
  logsumexp: usize,
  first: usize,
  dq: usize,
  dk: usize,
  dv: usize,
  scores: usize,
  slopes: usize,
  rows: usize,
  heads: usize,
  kvHeads: usize,
  headDim: usize,
  window: usize,
  scale: f32,
  begin: usize,
  end: usize,
): void {
  for (let item = begin; item < end; item++) {
    const from = item / kvHeads * rowsOfItem, shared = item % kvHeads;
    // Documents stand in order, so that their first rows do, too.
    let r = from;
    while (r < rows && <usize> load<u32>(first + (r << 2)) < from) r++;
    let behind = r;
    while (behind < rows && <usize> load<u32>(first + (behind << 2)) < from + rowsOfItem) behind++;
    headBackward(
      q,
      k,
      v,
      y,
      dy,
      logsumexp,
      first,
      dq,
      dk,
      dv,
      scores,
      slopes,
      r,
      behind,
      heads,
      kvHeads,
      shared,
      headDim,
      window,
      scale,
    );
  }
}

/** The gradients of a key head, and of the query heads that share it, of the documents in rows from `begin` to `end`. */
function headBackward(
  q: usize,
  k: usize,
  v: usize,
  y: usize,
  dy: usize,
  logsumexp: usize,
  first: usize,
  dq: usize,
  dk: usize,
  dv: usize,
  scores: usize,
  slopes: usize,
  begin: usize,
  end: usize,
  heads: usize,
  kvHeads: usize,
  shared: usize,
  headDim: usize,
  window: usize,
  scale: f32,
): void {
  const stride = (kvHeads * headDim) << 2, group = heads / kvHeads, head = headDim << 2;
  for (let r = begin; r < end; r++) {
    memory.fill(dk + r * stride + shared * head, 0, head);
    memory.fill(dv + r * stride + shared * head, 0, head);
  }
  for (let r = begin; r < end; r++) {
    const start = startOf(first, r, window), count = r + 1 - start;
    for (let h = shared * group; h < (shared + 1) * group; h++) {
      const n = r * heads + h, own = n * head, at = start * stride + shared * head;
      score(q + own, k + at, stride, count, headDim, scale, scores);
      score(dy + own, v + at, stride, count, headDim, 1, slopes);
      const fall = dot<f32>(y + own, dy + own, headDim);
      slopesOf(scores, slopes, count, load<f32>(logsumexp + (n << 2)), fall, scale);
      weigh(slopes, k + at, stride, count, headDim, 1, dq + own);
      for (let j: usize = 0; j < count; j++) {
        const to = at + j * stride;
        addScaled(dk + to, q + own, v128.load32_splat(slopes + (j << 2)), headDim);
        addScaled(dv + to, dy + own, v128.load32_splat(scores + (j << 2)), headDim);
      }
    }
  }
}

/** See the kernel's documentation. Scratch holds a score for each row, and three more. An item is a head of a row. */
export function packed_attention(
  q: usize,
  k: usize,
  v: usize,
  first: usize,
  last: usize,
  y: usize,
  scratch: usize,
  heads: usize,
  headDim: usize,
  stride: usize,
  qAt: usize,
  kAt: usize,
  vAt: usize,
  scale: f32,
  begin: usize,
  end: usize,
): void {
  const line = stride << 2, head = headDim << 2;
  q += qAt << 2;
  k += kAt << 2;
  v += vAt << 2;
  for (let n = begin; n < end; n++) {
    const r = n / heads, h = n % heads, start = <usize> load<u32>(first + (r << 2));
    const count = <usize> load<u32>(last + (r << 2)) - start, at = start * line + h * head;
    score(q + r * line + h * head, k + at, line, count, headDim, scale, scratch);
    const total = softmax(scratch, count);
    weigh(scratch, v + at, line, count, headDim, <f32> 1 / total, y + n * head);
  }
}

/**
 * See the kernel's documentation. `scores` and `slopes` hold a number for each row, and three more. An item is a head of the
 * documents that begin in 64 rows: no other item adds to their gradients.
 */
export function packed_attention_backward(
  q: usize,
  k: usize,
  v: usize,
  y: usize,
  dy: usize,
  first: usize,
  last: usize,
  dq: usize,
  dk: usize,
  dv: usize,
  scores: usize,
  slopes: usize,
  rows: usize,
  heads: usize,
  headDim: usize,
  scale: f32,
  begin: usize,
  end: usize,
): void {
  const head = headDim << 2, line = heads * head;
  for (let item = begin; item < end; item++) {
    const from = item / heads * rowsOfItem, column = (item % heads) * head;
    // Documents stand in order, so that their first rows do, too.
    let r = from;
    while (r < rows && <usize> load<u32>(first + (r << 2)) < from) r++;
    for (; r < rows && <usize> load<u32>(first + (r << 2)) < from + rowsOfItem; r++) {
      const start = <usize> load<u32>(first + (r << 2)), count = <usize> load<u32>(last + (r << 2)) - start;
      const own = r * line + column, at = start * line + column;
      if (r == start) {
        for (let j: usize = 0; j < count; j++) {
          memory.fill(dk + at + j * line, 0, head);
          memory.fill(dv + at + j * line, 0, head);
        }
      }
      score(q + own, k + at, line, count, headDim, scale, scores);
      score(dy + own, v + at, line, count, headDim, 1, slopes);
      const total = softmax(scores, count);
      slopesOfWeights(scores, slopes, count, <f32> 1 / total, dot<f32>(y + own, dy + own, headDim), scale);
      weigh(slopes, k + at, line, count, headDim, 1, dq + own);
      for (let j: usize = 0; j < count; j++) {
        addScaled(dk + at + j * line, q + own, v128.load32_splat(slopes + (j << 2)), headDim);
        addScaled(dv + at + j * line, dy + own, v128.load32_splat(scores + (j << 2)), headDim);
      }
    }
  }
}

/** Turns softmax's weights into probabilities, and the products of dy and values into slopes of the scores. */
function slopesOfWeights(
  weights: usize,
  slopes: usize,
  count: usize,
  inverse: f32,
  fall: f32,
  scale: f32,
): void {
  const share = f32x4.splat(inverse), less = f32x4.splat(fall), by = f32x4.splat(scale);
  for (let i: usize = 0; i < count << 2; i += 16) {
    const p = f32x4.mul(v128.load(weights + i), share);
    v128.store(weights + i, p);
    v128.store(slopes + i, f32x4.mul(by, f32x4.mul(p, f32x4.sub(v128.load(slopes + i), less))));
  }
}

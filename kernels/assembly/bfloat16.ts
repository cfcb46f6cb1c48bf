// deno-fmt-ignore-file: the formatter drops `@inline`.
// Numbers of bfloat16: the upper halves of float32, so that to widen one is to move it up. A weight is read at half the bytes
// of float32, and its numbers become float32 in registers.
//
// Products of one or two rows of x add up as those of linear.ts, in the same order: the results are equal bit for bit to those
// by the weight widened first. More rows meet panels of widened lines (linear_rows.ts).
import { loadTail, multiplyAdd, storeTail, sum, sums } from "./lanes";
import { put } from "./linear";

/** The first four of eight numbers, as float32; `zero` is a vector of zeros. */
@inline
function low(v: v128, zero: v128): v128 {
  return i16x8.shuffle(zero, v, 0, 8, 1, 9, 2, 10, 3, 11);
}

/** The last four of eight. */
@inline
function high(v: v128, zero: v128): v128 {
  return i16x8.shuffle(zero, v, 4, 12, 5, 13, 6, 14, 7, 15);
}

/** Four numbers of a line, as float32. */
@inline
function four(from: usize): v128 {
  return i32x4.shl(v128.load16x4_u(from), 16);
}

/** The last up to three numbers of a line, as float32, and zeros. */
function tail(from: usize, count: usize): v128 {
  let v = v128.load16_lane(from, i32x4.splat(0), 1);
  if (count > 1) v = v128.load16_lane(from + 2, v, 3);
  if (count > 2) v = v128.load16_lane(from + 4, v, 5);
  return v;
}

/** Numbers of a line as float32. */
export function widen(from: usize, count: usize, to: usize): void {
  const zero = i32x4.splat(0), stop = to + (count << 2);
  for (; to + 32 <= stop; from += 16, to += 32) {
    const v = v128.load(from);
    v128.store(to, low(v, zero));
    v128.store(to, high(v, zero), 16);
  }
  if (to + 16 <= stop) {
    v128.store(to, four(from));
    from += 8;
    to += 16;
  }
  if (to < stop) storeTail(to, tail(from, (stop - to) >> 2), (stop - to) >> 2);
}

/** Three lines side by side, as `place` of linear_rows.ts has them. */
export function placeWidened(a: usize, b: usize, c: usize, count: usize, to: usize): void {
  const zero = i32x4.splat(0), eights = (count & ~7) << 1, end = (count & ~3) << 1, rest = count & 3;
  for (let i: usize = 0; i < eights; i += 16, to += 96) {
    const u = v128.load(a + i), v = v128.load(b + i), w = v128.load(c + i);
    v128.store(to, low(u, zero));
    v128.store(to, low(v, zero), 16);
    v128.store(to, low(w, zero), 32);
    v128.store(to, high(u, zero), 48);
    v128.store(to, high(v, zero), 64);
    v128.store(to, high(w, zero), 80);
  }
  if (eights < end) {
    v128.store(to, four(a + eights));
    v128.store(to, four(b + eights), 16);
    v128.store(to, four(c + eights), 32);
    to += 48;
  }
  if (!rest) return;
  v128.store(to, tail(a + end, rest));
  v128.store(to, tail(b + end, rest), 16);
  v128.store(to, tail(c + end, rest), 32);
}

/** The products of one row of x with four lines of the weight, `stride` bytes apart. */
function fourOutputs(x: usize, w0: usize, stride: usize, count: usize): v128 {
  const w1 = w0 + stride, w2 = w1 + stride, w3 = w2 + stride, zero = i32x4.splat(0);
  const eights = (count & ~7) << 1, end = (count & ~3) << 1, rest = count & 3;
  let a = f32x4.splat(0), b = a, c = a, d = a;
  for (let i: usize = 0; i < eights; i += 16) {
    const at = x + (i << 1), u = v128.load(at), v = v128.load(at, 16);
    const p = v128.load(w0 + i), q = v128.load(w1 + i), r = v128.load(w2 + i), s = v128.load(w3 + i);
    a = multiplyAdd(multiplyAdd(a, u, low(p, zero)), v, high(p, zero));
    b = multiplyAdd(multiplyAdd(b, u, low(q, zero)), v, high(q, zero));
    c = multiplyAdd(multiplyAdd(c, u, low(r, zero)), v, high(r, zero));
    d = multiplyAdd(multiplyAdd(d, u, low(s, zero)), v, high(s, zero));
  }
  if (eights < end) {
    const u = v128.load(x + (eights << 1));
    a = multiplyAdd(a, u, four(w0 + eights));
    b = multiplyAdd(b, u, four(w1 + eights));
    c = multiplyAdd(c, u, four(w2 + eights));
    d = multiplyAdd(d, u, four(w3 + eights));
  }
  if (rest) {
    const u = loadTail(x + (end << 1), rest);
    a = multiplyAdd(a, u, tail(w0 + end, rest));
    b = multiplyAdd(b, u, tail(w1 + end, rest));
    c = multiplyAdd(c, u, tail(w2 + end, rest));
    d = multiplyAdd(d, u, tail(w3 + end, rest));
  }
  return sums(a, b, c, d);
}

/** Four outputs of two rows of x, `xStride` bytes apart. */
function fourOutputsTwoRows(
  x: usize,
  xStride: usize,
  w0: usize,
  stride: usize,
  count: usize,
  y: usize,
  yStride: usize,
  apart: usize,
  bias: usize,
  accumulate: bool,
): void {
  const w1 = w0 + stride, w2 = w1 + stride, w3 = w2 + stride, x1 = x + xStride;
  const end = (count & ~3) << 1, rest = count & 3;
  let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
  for (let i: usize = 0; i < end; i += 8) {
    const u = v128.load(x + (i << 1)), v = v128.load(x1 + (i << 1)), p = four(w0 + i);
    a = multiplyAdd(a, u, p);
    e = multiplyAdd(e, v, p);
    const q = four(w1 + i);
    b = multiplyAdd(b, u, q);
    f = multiplyAdd(f, v, q);
    const r = four(w2 + i);
    c = multiplyAdd(c, u, r);
    g = multiplyAdd(g, v, r);
    const s = four(w3 + i);
    d = multiplyAdd(d, u, s);
    h = multiplyAdd(h, v, s);
  }
  if (rest) {
    const u = loadTail(x + (end << 1), rest), v = loadTail(x1 + (end << 1), rest);
    const p = tail(w0 + end, rest), q = tail(w1 + end, rest);
    const r = tail(w2 + end, rest), s = tail(w3 + end, rest);
    a = multiplyAdd(a, u, p);
    b = multiplyAdd(b, u, q);
    c = multiplyAdd(c, u, r);
    d = multiplyAdd(d, u, s);
    e = multiplyAdd(e, v, p);
    f = multiplyAdd(f, v, q);
    g = multiplyAdd(g, v, r);
    h = multiplyAdd(h, v, s);
  }
  put(y, apart, sums(a, b, c, d), bias, accumulate);
  put(y + yStride, apart, sums(e, f, g, h), bias, accumulate);
}

/** The product of one row of x with one line of the weight. */
function dot(x: usize, w: usize, count: usize): f32 {
  const end = (count & ~3) << 1, rest = count & 3;
  let a = f32x4.splat(0);
  for (let i: usize = 0; i < end; i += 8) a = multiplyAdd(a, v128.load(x + (i << 1)), four(w + i));
  if (rest) a = multiplyAdd(a, loadTail(x + (end << 1), rest), tail(w + end, rest));
  return sum(a);
}

/**
 * One or two rows of x (rows, inSize) times weight (outSize, inSize) of bfloat16 to y (rows, outSize). `bias` is 0 for none.
 * Items are those of `linear`.
 */
export function linear_bfloat16(
  x: usize,
  weight: usize,
  bias: usize,
  y: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  const stride = inSize << 1, xStride = inSize << 2, yStride = outSize << 2;
  const quarter = outSize >> 2, apart = quarter << 2;
  for (let o = begin; o < min(end, quarter); o++) {
    const w = weight + o * stride, at = y + (o << 2), b = bias ? bias + (o << 2) : 0;
    if (rows == 1) put(at, apart, fourOutputs(x, w, quarter * stride, inSize), b, accumulate);
    else fourOutputsTwoRows(x, xStride, w, quarter * stride, inSize, at, yStride, apart, b, accumulate);
  }
  for (let o = 3 * quarter + max(begin, quarter); o < 3 * quarter + end; o++) {
    for (let r: usize = 0; r < rows; r++) {
      const at = y + r * yStride + (o << 2);
      let value = dot(x + r * xStride, weight + o * stride, inSize);
      if (bias) value += load<f32>(bias + (o << 2));
      if (accumulate) value += load<f32>(at);
      store<f32>(at, value);
    }
  }
}

// deno-fmt-ignore-file: the formatter drops `@inline`.
// Products of many packed rows of x (packed.ts) by panels: groups of four outputs, whose numbers are widened to 16 bits and
// stand side by side. So each lane of a sum is an output, and a block's scales are put to four outputs at once.
//
// A group has 256 bytes for each block: 16 pairs of neighbours, in the order of x's blocks, of its four outputs each.
// Behind all numbers stand for each block its scales, or those of both halves, and what its elements are less: 16 bytes each.
import { loadTail, multiplyAdd, storeTail } from "./lanes";
import { blockBytes } from "./packed";

/** Bytes of a block's numbers in a group. */
const numberBytes: usize = 256;

/** Where the scales of a group begin. */
@inline
export function scalesOf(group: usize, blocks: usize): usize {
  return group + blocks * numberBytes;
}

/** Bytes of a group of so many blocks, with so many bytes of scales for each. */
@inline
export function groupBytes(blocks: usize, scaleBytes: usize): usize {
  return blocks * (numberBytes + scaleBytes);
}

/** Sixteen numbers of 8 bits of four outputs each, as eight pairs of 16 bits of all four. */
@inline
export function placePairs(a: v128, b: v128, c: v128, d: v128, to: usize): void {
  const ab = i16x8.shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11), cd = i16x8.shuffle(c, d, 0, 8, 1, 9, 2, 10, 3, 11);
  const ef = i16x8.shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15), gh = i16x8.shuffle(c, d, 4, 12, 5, 13, 6, 14, 7, 15);
  const p = i32x4.shuffle(ab, cd, 0, 4, 1, 5), q = i32x4.shuffle(ab, cd, 2, 6, 3, 7);
  const r = i32x4.shuffle(ef, gh, 0, 4, 1, 5), s = i32x4.shuffle(ef, gh, 2, 6, 3, 7);
  v128.store(to, i16x8.extend_low_i8x16_s(p));
  v128.store(to, i16x8.extend_high_i8x16_s(p), 16);
  v128.store(to, i16x8.extend_low_i8x16_s(q), 32);
  v128.store(to, i16x8.extend_high_i8x16_s(q), 48);
  v128.store(to, i16x8.extend_low_i8x16_s(r), 64);
  v128.store(to, i16x8.extend_high_i8x16_s(r), 80);
  v128.store(to, i16x8.extend_low_i8x16_s(s), 96);
  v128.store(to, i16x8.extend_high_i8x16_s(s), 112);
}

/** Eight numbers of 16 bits of four outputs each, as four pairs of all four. */
@inline
export function placeWide(a: v128, b: v128, c: v128, d: v128, to: usize): void {
  const ab = i32x4.shuffle(a, b, 0, 4, 1, 5), cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
  const ef = i32x4.shuffle(a, b, 2, 6, 3, 7), gh = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(to, i64x2.shuffle(ab, cd, 0, 2));
  v128.store(to, i64x2.shuffle(ab, cd, 1, 3), 16);
  v128.store(to, i64x2.shuffle(ef, gh, 0, 2), 32);
  v128.store(to, i64x2.shuffle(ef, gh, 1, 3), 48);
}

/** Stores a row's outputs of a group, the first `count` of them. */
function put(y: usize, sums: v128, bias: usize, accumulate: bool, count: usize): void {
  const whole = count >= 4;
  if (bias) sums = f32x4.add(sums, whole ? v128.load(bias) : loadTail(bias, count));
  if (accumulate) sums = f32x4.add(sums, whole ? v128.load(y) : loadTail(y, count));
  if (whole) v128.store(y, sums);
  else storeTail(y, sums, count);
}

/** One of two pairs of numbers, four times. */
@inline
function pair(v: v128, index: u8): v128 {
  return index == 0 ? i32x4.shuffle(v, v, 0, 0, 0, 0) : i32x4.shuffle(v, v, 1, 1, 1, 1);
}

@inline
function dotAdd(sum: v128, a: v128, b: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(a, b));
}

/** sum + a block's products, as floats, times x's scale and the outputs' scales. */
@inline
export function scaled(sum: v128, products: v128, scale: v128, scales: v128): v128 {
  return multiplyAdd(sum, f32x4.convert_i32x4_s(products), f32x4.mul(scale, scales));
}

/** Adds the offset of a block's elements times the sum of x's block. Packed x holds -8 times that sum. */
@inline
function lessened(sum: v128, x: usize, scale: v128, less: v128): v128 {
  return multiplyAdd(sum, f32x4.convert_i32x4_s(v128.load32_splat(x, 4)), f32x4.mul(scale, less));
}

/**
 * Up to four packed rows of x times two groups, or one with `apart` 0; rows that are not there are computed and left.
 * `count` is how many outputs there are from the first group on.
 */
function tile(
  x: usize,
  packed: usize,
  w: usize,
  apart: usize,
  blocks: usize,
  y: usize,
  yStride: usize,
  bias: usize,
  accumulate: bool,
  rows: usize,
  count: usize,
  halves: usize,
  hasLess: bool,
): void {
  let x1 = rows > 1 ? x + packed : x, x2 = rows > 2 ? x1 + packed : x, x3 = rows > 3 ? x2 + packed : x;
  let scales = scalesOf(w, blocks);
  let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
  // Behind a half x's factors are as far as the other half is long.
  const part = 64 / halves, half = 64 - part;
  let ahead = half;
  for (let n = blocks * halves; n > 0; n--, scales += 16) {
    let i = i32x4.splat(0), j = i, k = i, l = i, m = i, o = i, p = i, q = i;
    // Few loads: an engine may check the bounds of each.
    for (const end = x + part; x < end; x += 8, x1 += 8, x2 += 8, x3 += 8, w += 32) {
      const first = v128.load64_zero(x), second = v128.load64_zero(x1);
      const third = v128.load64_zero(x2), fourth = v128.load64_zero(x3);
      let u = v128.load(w), v = v128.load(w + apart), t = pair(first, 0);
      i = dotAdd(i, t, u), j = dotAdd(j, t, v), t = pair(second, 0);
      k = dotAdd(k, t, u), l = dotAdd(l, t, v), t = pair(third, 0);
      m = dotAdd(m, t, u), o = dotAdd(o, t, v), t = pair(fourth, 0);
      p = dotAdd(p, t, u), q = dotAdd(q, t, v), t = pair(first, 1);
      u = v128.load(w, 16), v = v128.load(w + apart, 16);
      i = dotAdd(i, t, u), j = dotAdd(j, t, v), t = pair(second, 1);
      k = dotAdd(k, t, u), l = dotAdd(l, t, v), t = pair(third, 1);
      m = dotAdd(m, t, u), o = dotAdd(o, t, v), t = pair(fourth, 1);
      p = dotAdd(p, t, u), q = dotAdd(q, t, v);
    }
    const u = v128.load(scales), v = v128.load(scales + apart);
    let t = v128.load32_splat(x + ahead);
    a = scaled(a, i, t, u), b = scaled(b, j, t, v), t = v128.load32_splat(x1 + ahead);
    c = scaled(c, k, t, u), d = scaled(d, l, t, v), t = v128.load32_splat(x2 + ahead);
    e = scaled(e, m, t, u), f = scaled(f, o, t, v), t = v128.load32_splat(x3 + ahead);
    g = scaled(g, p, t, u), h = scaled(h, q, t, v);
    if (ahead) {
      ahead = 0;
      continue;
    }
    ahead = half;
    if (hasLess) {
      scales += 16;
      const u = v128.load(scales), v = v128.load(scales + apart);
      let t = v128.load32_splat(x);
      a = lessened(a, x, t, u), b = lessened(b, x, t, v), t = v128.load32_splat(x1);
      c = lessened(c, x1, t, u), d = lessened(d, x1, t, v), t = v128.load32_splat(x2);
      e = lessened(e, x2, t, u), f = lessened(f, x2, t, v), t = v128.load32_splat(x3);
      g = lessened(g, x3, t, u), h = lessened(h, x3, t, v);
    }
    x += 8, x1 += 8, x2 += 8, x3 += 8;
  }
  const more = bias ? bias + 16 : 0, others = apart ? count - 4 : 0;
  put(y, a, bias, accumulate, count);
  if (others) put(y + 16, b, more, accumulate, others);
  if (rows == 1) return;
  y += yStride;
  put(y, c, bias, accumulate, count);
  if (others) put(y + 16, d, more, accumulate, others);
  if (rows == 2) return;
  y += yStride;
  put(y, e, bias, accumulate, count);
  if (others) put(y + 16, f, more, accumulate, others);
  if (rows == 3) return;
  y += yStride;
  put(y, g, bias, accumulate, count);
  if (others) put(y + 16, h, more, accumulate, others);
}

/**
 * All packed rows times the groups of a panel, which have `count` outputs. `halves` is 2 where halves of a block have scales of
 * their own, else 1. `yStride` is bytes.
 */
export function panelRows(
  packed: usize,
  panel: usize,
  blocks: usize,
  y: usize,
  yStride: usize,
  bias: usize,
  accumulate: bool,
  rows: usize,
  count: usize,
  halves: usize,
  hasLess: bool,
): void {
  const width = blocks * blockBytes, group = groupBytes(blocks, (halves << 4) + (hasLess ? 16 : 0));
  for (let r: usize = 0; r < rows; r += 4) {
    const from = packed + r * width, to = y + r * yStride, held = rows - r;
    for (let o: usize = 0; o < count; o += 8) {
      const left = count - o, w = panel + (o >> 2) * group, at = o << 2;
      const apart = left > 4 ? group : 0, b = bias ? bias + at : 0;
      tile(from, width, w, apart, blocks, to + at, yStride, b, accumulate, held, left, halves, hasLess);
    }
  }
}

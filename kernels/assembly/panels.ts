// deno-fmt-ignore-file: the formatter drops `@inline`.
// Products of many packed rows of x (packed.ts) by panels: pairs of groups of four outputs, whose numbers are widened to 16 bits
// and stand side by side. So each lane of a sum is an output, and a block's scales are put to four outputs at once.
//
// A pair has 512 bytes for each block: 16 pairs of neighbours, in the order of x's blocks, of the four outputs of each group in
// turn. Behind all numbers stand the scales of the first group, and then those of the second: for each block the scale, or
// those of both halves, and what its elements are less; 16 bytes each.
import { loadTail, multiplyAdd, storeTail } from "./lanes";
import { fourBytes } from "./packed";

/** Bytes of a block's numbers in a pair of groups. */
const numberBytes: usize = 512;

/** Bytes from four outputs' neighbours to the next ones. */
const step: usize = 32;

/** Bytes of a pair of groups of so many blocks, with so many bytes of scales for each. */
@inline
function pairBytes(blocks: usize, scaleBytes: usize): usize {
  return blocks * (numberBytes + 2 * scaleBytes);
}

/** Where a group of a panel has its numbers. */
@inline
export function groupAt(panel: usize, index: usize, blocks: usize, scaleBytes: usize): usize {
  return panel + (index >> 1) * pairBytes(blocks, scaleBytes) + ((index & 1) << 4);
}

/** Where it has its scales. */
@inline
export function scalesAt(panel: usize, index: usize, blocks: usize, scaleBytes: usize): usize {
  return panel + (index >> 1) * pairBytes(blocks, scaleBytes) + blocks * (numberBytes + (index & 1) * scaleBytes);
}

/** Sixteen numbers of 8 bits of four outputs each, as eight pairs of 16 bits of all four. */
@inline
export function placePairs(a: v128, b: v128, c: v128, d: v128, to: usize): void {
  const ab = i16x8.shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11), cd = i16x8.shuffle(c, d, 0, 8, 1, 9, 2, 10, 3, 11);
  const ef = i16x8.shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15), gh = i16x8.shuffle(c, d, 4, 12, 5, 13, 6, 14, 7, 15);
  const p = i32x4.shuffle(ab, cd, 0, 4, 1, 5), q = i32x4.shuffle(ab, cd, 2, 6, 3, 7);
  const r = i32x4.shuffle(ef, gh, 0, 4, 1, 5), s = i32x4.shuffle(ef, gh, 2, 6, 3, 7);
  v128.store(to, i16x8.extend_low_i8x16_s(p));
  v128.store(to, i16x8.extend_high_i8x16_s(p), 32);
  v128.store(to, i16x8.extend_low_i8x16_s(q), 64);
  v128.store(to, i16x8.extend_high_i8x16_s(q), 96);
  v128.store(to, i16x8.extend_low_i8x16_s(r), 128);
  v128.store(to, i16x8.extend_high_i8x16_s(r), 160);
  v128.store(to, i16x8.extend_low_i8x16_s(s), 192);
  v128.store(to, i16x8.extend_high_i8x16_s(s), 224);
}

/** Eight numbers of 16 bits of four outputs each, as four pairs of all four. */
@inline
export function placeWide(a: v128, b: v128, c: v128, d: v128, to: usize): void {
  const ab = i32x4.shuffle(a, b, 0, 4, 1, 5), cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
  const ef = i32x4.shuffle(a, b, 2, 6, 3, 7), gh = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(to, i64x2.shuffle(ab, cd, 0, 2));
  v128.store(to, i64x2.shuffle(ab, cd, 1, 3), 32);
  v128.store(to, i64x2.shuffle(ef, gh, 0, 2), 64);
  v128.store(to, i64x2.shuffle(ef, gh, 1, 3), 96);
}

/** Stores a row's outputs of a group, the first `count` of them. */
function put(y: usize, sums: v128, bias: usize, accumulate: bool, count: usize): void {
  const whole = count >= 4;
  if (bias) sums = f32x4.add(sums, whole ? v128.load(bias) : loadTail(bias, count));
  if (accumulate) sums = f32x4.add(sums, whole ? v128.load(y) : loadTail(y, count));
  if (whole) v128.store(y, sums);
  else storeTail(y, sums, count);
}

/** One of four pairs of numbers, four times. */
@inline
export function pair(v: v128, index: u8): v128 {
  if (index == 0) return i32x4.shuffle(v, v, 0, 0, 0, 0);
  if (index == 1) return i32x4.shuffle(v, v, 1, 1, 1, 1);
  return index == 2 ? i32x4.shuffle(v, v, 2, 2, 2, 2) : i32x4.shuffle(v, v, 3, 3, 3, 3);
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

/** Four packed rows of x times a pair of groups: `rows` of them, and `count` outputs, are stored. */
function tile(
  x: usize,
  w: usize,
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
  const apart = blocks * ((halves << 4) + (hasLess ? 16 : 0));
  let scales = w + blocks * numberBytes;
  let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
  // Behind a half x's scales are as far as the other half is long.
  const part = 256 / halves, half = 256 - part;
  let ahead = half;
  for (let n = blocks * halves; n > 0; n--, scales += 16) {
    let i = i32x4.splat(0), j = i, k = i, l = i, m = i, o = i, p = i, q = i;
    // More neighbours at a time would need more registers: the compiler turns their sums one after the other.
    for (const end = x + part; x < end; x += 16, w += step) {
      const v = v128.load(x), r = v128.load(w), s = v128.load(w, 16);
      let t = pair(v, 0);
      i = dotAdd(i, t, r), j = dotAdd(j, t, s), t = pair(v, 1);
      k = dotAdd(k, t, r), l = dotAdd(l, t, s), t = pair(v, 2);
      m = dotAdd(m, t, r), o = dotAdd(o, t, s), t = pair(v, 3);
      p = dotAdd(p, t, r), q = dotAdd(q, t, s);
    }
    const r = v128.load(scales), s = v128.load(scales + apart), v = v128.load(x + ahead);
    let t = pair(v, 0);
    a = scaled(a, i, t, r), b = scaled(b, j, t, s), t = pair(v, 1);
    c = scaled(c, k, t, r), d = scaled(d, l, t, s), t = pair(v, 2);
    e = scaled(e, m, t, r), f = scaled(f, o, t, s), t = pair(v, 3);
    g = scaled(g, p, t, r), h = scaled(h, q, t, s);
    if (ahead) {
      ahead = 0;
      continue;
    }
    ahead = half;
    if (hasLess) {
      scales += 16;
      // Packed x holds -8 times the sum of a block: what the block's elements are less is put to that.
      const r = v128.load(scales), s = v128.load(scales + apart);
      const sums = f32x4.convert_i32x4_s(v128.load(x, 16));
      let t = pair(v, 0), u = pair(sums, 0);
      a = multiplyAdd(a, u, f32x4.mul(t, r)), b = multiplyAdd(b, u, f32x4.mul(t, s)), t = pair(v, 1), u = pair(sums, 1);
      c = multiplyAdd(c, u, f32x4.mul(t, r)), d = multiplyAdd(d, u, f32x4.mul(t, s)), t = pair(v, 2), u = pair(sums, 2);
      e = multiplyAdd(e, u, f32x4.mul(t, r)), f = multiplyAdd(f, u, f32x4.mul(t, s)), t = pair(v, 3), u = pair(sums, 3);
      g = multiplyAdd(g, u, f32x4.mul(t, r)), h = multiplyAdd(h, u, f32x4.mul(t, s));
    }
    x += 32;
  }
  putPair(y, a, b, bias, accumulate, count);
  if (rows > 1) putPair(y + yStride, c, d, bias, accumulate, count);
  if (rows > 2) putPair(y + 2 * yStride, e, f, bias, accumulate, count);
  if (rows > 3) putPair(y + 3 * yStride, g, h, bias, accumulate, count);
}

/** Stores a row's outputs of a pair of groups, the first `count` of them. */
@inline
export function putPair(y: usize, a: v128, b: v128, bias: usize, accumulate: bool, count: usize): void {
  if (count < 8) {
    put(y, a, bias, accumulate, count);
    if (count > 4) put(y + 16, b, bias ? bias + 16 : 0, accumulate, count - 4);
    return;
  }
  if (bias) a = f32x4.add(a, v128.load(bias)), b = f32x4.add(b, v128.load(bias, 16));
  if (accumulate) a = f32x4.add(a, v128.load(y)), b = f32x4.add(b, v128.load(y, 16));
  v128.store(y, a);
  v128.store(y, b, 16);
}

/**
 * All packed rows, four side by side, times the groups of a panel, which have `count` outputs. `halves` is 2 where halves of a
 * block have scales of their own, else 1. `yStride` is bytes.
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
  const width = blocks * fourBytes, pair = pairBytes(blocks, (halves << 4) + (hasLess ? 16 : 0));
  for (let r: usize = 0; r < rows; r += 4, packed += width, y += yStride << 2) {
    for (let o: usize = 0, w = panel; o < count; o += 8, w += pair) {
      const at = o << 2, b = bias ? bias + at : 0;
      tile(packed, w, blocks, y + at, yStride, b, accumulate, rows - r, count - o, halves, hasLess);
    }
  }
}

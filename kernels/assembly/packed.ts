// deno-fmt-ignore-file: the formatter drops `@inline`.
// Rows of x rounded to 16 bits, for products by weights in blocks (quantized.ts, blocks.ts).
//
// Each block of 32 elements has a scale of its own, so that products of a block are exact integers, eight to an instruction. An
// element is off by 2^-16 of the block's largest one.
//
// Few rows meet the lines of a weight (quantized_lines.ts, block_lines.ts), and stand one after the other. Many rows meet panels
// (panels.ts), and stand four side by side: for each block 16 pairs of neighbours of each row in turn, the scales of the four
// rows, and what stands behind a scale. The numbers are the same.
import { largest, loadTail, wholeSums } from "./lanes";

/** Bytes of a block of x: 32 numbers of 16 bits, the scale, and 8 times their sum, negative; 0 in their plain order. */
export const blockBytes: usize = 72;

/** Bytes of a block of four rows. */
export const fourBytes: usize = 4 * blockBytes;

/** 1.5 * 2^23: a float that is added to it loses its fraction, and its integer is in the lowest bits. */
const magic: f32 = 12582912;

/** Rounds four elements to multiples of a scale, as f32x4.nearest does. There are at most 32767 multiples. */
@inline
export function rounded(v: v128, inverse: v128): v128 {
  const bits = f32x4.splat(magic);
  return i32x4.sub(f32x4.add(f32x4.mul(v, inverse), bits), bits);
}

/** Four elements of a row from element `at` on, zeros past its end. */
@inline
export function quad(x: usize, at: usize, count: usize): v128 {
  if (at + 4 <= count) return v128.load(x + (at << 2));
  return at < count ? loadTail(x + (at << 2), count - at) : f32x4.splat(0);
}

/** The largest size of 32 elements, in a lane for each fourth of them. */
@inline
export function mostOf(x: usize, begin: usize, count: usize): v128 {
  let most = f32x4.splat(0);
  for (let at = begin; at < begin + 32; at += 4) most = f32x4.max(most, f32x4.abs(quad(x, at, count)));
  return most;
}

/**
 * Orders of a block's numbers (kernels/formats/packed_x.ts): as they stand; as 8 bytes of 4 bits have them, twice, low halves
 * first; and as the fourths of 8 words of 16 bits, lowest first.
 */
const plainOrder: u32 = 0, halvesOrder: u32 = 1, fourthsOrder: u32 = 2;

/** Where quad q of a block has its first pair of numbers of 16 bits, in bytes. */
@inline
function quadAt(q: usize, order: u32): usize {
  if (order == plainOrder) return q << 3;
  if (order == halvesOrder) return ((q >> 2) << 5) + ((q & 1) << 4) + (((q >> 1) & 1) << 3);
  return ((q & 1) << 4) + ((q >> 1) << 2);
}

/** How far its second pair is from the first. */
@inline
function pairApart(order: u32): usize {
  return order == fourthsOrder ? 32 : 4;
}

/** Two quads as numbers of 16 bits, in pairs. */
@inline
function narrowed(a: v128, b: v128, order: u32): v128 {
  const v = i16x8.narrow_i32x4_s(a, b);
  return order == fourthsOrder ? i16x8.shuffle(v, v, 0, 2, 1, 3, 4, 6, 5, 7) : v;
}

/** Rounds a row of x to blocks. */
function pack(x: usize, count: usize, order: u32, to: usize): void {
  const apart = pairApart(order);
  for (let begin: usize = 0; begin < count; begin += 32, to += blockBytes) {
    const scale = largest(mostOf(x, begin, count)) / 32767;
    const inverse = f32x4.splat(scale > 0 ? 1 / scale : 0);
    let total = i32x4.splat(0);
    for (let q: usize = 0; q < 8; q++) {
      const v = rounded(quad(x, begin + 4 * q, count), inverse), at = to + quadAt(q, order);
      total = i32x4.add(total, v);
      const pairs = narrowed(v, v, order);
      v128.store32_lane(at, pairs, 0);
      v128.store32_lane(at + apart, pairs, 1);
    }
    store<f32>(to, scale, 64);
    const sum = i32x4.extract_lane(total, 0) + i32x4.extract_lane(total, 1) + i32x4.extract_lane(total, 2) +
      i32x4.extract_lane(total, 3);
    store<i32>(to, order == plainOrder ? 0 : -8 * sum, 68);
  }
}

/** The largest of each of four vectors. */
@inline
export function largestOfEach(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.max(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
  const cd = f32x4.max(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
  return f32x4.max(i64x2.shuffle(ab, cd, 0, 2), i64x2.shuffle(ab, cd, 1, 3));
}

/** Rounds four rows of x to blocks, side by side. */
function packFour(x0: usize, x1: usize, x2: usize, x3: usize, count: usize, order: u32, to: usize): void {
  const apart = pairApart(order) << 2;
  for (let begin: usize = 0; begin < count; begin += 32, to += fourBytes) {
    const most = largestOfEach(
      mostOf(x0, begin, count),
      mostOf(x1, begin, count),
      mostOf(x2, begin, count),
      mostOf(x3, begin, count),
    );
    const scale = f32x4.div(most, f32x4.splat(32767)), none = f32x4.splat(0);
    const inverse = v128.and(f32x4.div(f32x4.splat(1), scale), f32x4.gt(scale, none));
    const i = i32x4.shuffle(inverse, inverse, 0, 0, 0, 0), j = i32x4.shuffle(inverse, inverse, 1, 1, 1, 1);
    const k = i32x4.shuffle(inverse, inverse, 2, 2, 2, 2), l = i32x4.shuffle(inverse, inverse, 3, 3, 3, 3);
    let e = i32x4.splat(0), f = e, g = e, h = e;
    for (let q: usize = 0; q < 8; q++) {
      const from = begin + 4 * q, at = to + (quadAt(q, order) << 2);
      const a = rounded(quad(x0, from, count), i), b = rounded(quad(x1, from, count), j);
      const c = rounded(quad(x2, from, count), k), d = rounded(quad(x3, from, count), l);
      e = i32x4.add(e, a), f = i32x4.add(f, b), g = i32x4.add(g, c), h = i32x4.add(h, d);
      const ab = narrowed(a, b, order), cd = narrowed(c, d, order);
      v128.store(at, i32x4.shuffle(ab, cd, 0, 2, 4, 6));
      v128.store(at + apart, i32x4.shuffle(ab, cd, 1, 3, 5, 7));
    }
    v128.store(to, scale, 256);
    const sums = order == plainOrder ? none : i32x4.neg(i32x4.shl(wholeSums(e, f, g, h), 3));
    v128.store(to, sums, 272);
  }
}

/** Rounds rows of x to blocks. An item is a row. */
export function quantize_rows(
  x: usize,
  xStride: usize,
  packed: usize,
  inSize: usize,
  order: u32,
  begin: usize,
  end: usize,
): void {
  const line = ((inSize + 31) >> 5) * blockBytes;
  for (let r = begin; r < end; r++) pack(x + ((r * xStride) << 2), inSize, order, packed + r * line);
}

/** Rounds rows of x to blocks of four rows. The last row stands for those that are not there. An item is four rows. */
export function quantize_fours(
  x: usize,
  xStride: usize,
  packed: usize,
  rows: usize,
  inSize: usize,
  order: u32,
  begin: usize,
  end: usize,
): void {
  const line = ((inSize + 31) >> 5) * fourBytes, stride = xStride << 2, last = x + (rows - 1) * stride;
  for (let n = begin; n < end; n++) {
    const x0 = x + (n << 2) * stride, x1 = min(x0 + stride, last);
    packFour(x0, x1, min(x1 + stride, last), min(x1 + 2 * stride, last), inSize, order, packed + n * line);
  }
}

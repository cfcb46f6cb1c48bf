// deno-fmt-ignore-file: the formatter drops `@inline`.
// Products of a packed row of x with four lines of a weight of 8 or 4 bits, as they are stored.
//
// A block's product is one integer, put to its scales and added to the sum of the blocks before: as in panels.ts.
import { loadTail, wholeSums } from "./lanes";
import { blockBytes } from "./packed";
import { scaled } from "./panels";

/** The integer products of a block of x with one of 8 bits, in four partial sums. */
@inline
function dot8(w: usize, a: v128, b: v128, c: v128, d: v128): v128 {
  const low = i32x4.add(i32x4.dot_i16x8_s(a, v128.load8x8_s(w)), i32x4.dot_i16x8_s(b, v128.load8x8_s(w, 8)));
  const high = i32x4.add(
    i32x4.dot_i16x8_s(c, v128.load8x8_s(w, 16)),
    i32x4.dot_i16x8_s(d, v128.load8x8_s(w, 24)),
  );
  return i32x4.add(low, high);
}

/** The same with one of 4 bits: as 0 to 15, which is 8 more than they stand for. */
@inline
export function dot4(w: usize, a: v128, b: v128, c: v128, d: v128, turned: v128, mask: v128): v128 {
  const v = v128.xor(v128.load(w), turned);
  const low = i32x4.add(
    i32x4.dot_i16x8_s(a, v128.and(v, mask)),
    i32x4.dot_i16x8_s(b, v128.and(i16x8.shr_u(v, 4), mask)),
  );
  const high = i32x4.add(
    i32x4.dot_i16x8_s(c, v128.and(i16x8.shr_u(v, 8), mask)),
    i32x4.dot_i16x8_s(d, i16x8.shr_u(v, 12)),
  );
  return i32x4.add(low, high);
}

/** The first lanes of four vectors, in one vector; then the second, third and fourth ones. */
@inline
export function firstOf(a: v128, b: v128, c: v128, d: v128): v128 {
  return i64x2.shuffle(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(c, d, 0, 4, 1, 5), 0, 2);
}

@inline
export function secondOf(a: v128, b: v128, c: v128, d: v128): v128 {
  return i64x2.shuffle(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(c, d, 0, 4, 1, 5), 1, 3);
}

@inline
export function thirdOf(a: v128, b: v128, c: v128, d: v128): v128 {
  return i64x2.shuffle(i32x4.shuffle(a, b, 2, 6, 3, 7), i32x4.shuffle(c, d, 2, 6, 3, 7), 0, 2);
}

@inline
export function fourthOf(a: v128, b: v128, c: v128, d: v128): v128 {
  return i64x2.shuffle(i32x4.shuffle(a, b, 2, 6, 3, 7), i32x4.shuffle(c, d, 2, 6, 3, 7), 1, 3);
}

/**
 * The lowest four bits of each 16, or of each 8. Made of what is no constant: engines make a constant anew at each use, which
 * here takes as long as the products.
 */
@inline
export function lowBits(x: usize): v128 {
  const any = v128.load(x), one = i16x8.neg(i16x8.eq(any, any));
  return i16x8.sub(i16x8.shl(one, 4), one);
}

@inline
export function lowBitsOfBytes(x: usize): v128 {
  const mask = lowBits(x);
  return v128.or(mask, i16x8.shl(mask, 8));
}

/** The highest bit of each half of a byte, of the lowest four of each 16. */
@inline
export function highestBits(mask: v128): v128 {
  const eight = v128.xor(mask, i16x8.shr_u(mask, 1)), eights = v128.or(eight, i16x8.shl(eight, 4));
  return v128.or(eights, i16x8.shl(eights, 8));
}

/** The next up to four scales of a line. */
@inline
export function scalesAt(from: usize, count: usize): v128 {
  return count >= 4 ? v128.load(from) : loadTail(from, count);
}

/** A packed row of x times four rows of 8 bits, `stride` bytes apart, whose scales are `scaleStride` bytes apart. */
export function fourOutputs8(
  x: usize,
  w0: usize,
  stride: usize,
  s0: usize,
  scaleStride: usize,
  blocks: usize,
): v128 {
  const w1 = w0 + stride, w2 = w1 + stride, w3 = w2 + stride;
  const s1 = s0 + scaleStride, s2 = s1 + scaleStride, s3 = s2 + scaleStride;
  let sum = f32x4.splat(0);
  for (let i: usize = 0; i < blocks; i += 4) {
    const by = i << 2, left = blocks - i, end = (min(blocks, i + 4)) << 5;
    const e = scalesAt(s0 + by, left), f = scalesAt(s1 + by, left);
    const g = scalesAt(s2 + by, left), h = scalesAt(s3 + by, left);
    let scales = firstOf(e, f, g, h), second = secondOf(e, f, g, h);
    let third = thirdOf(e, f, g, h), fourth = fourthOf(e, f, g, h);
    for (let at = i << 5; at < end; at += 32, x += blockBytes) {
      const p = v128.load(x), q = v128.load(x, 16), r = v128.load(x, 32), s = v128.load(x, 48);
      const a = dot8(w0 + at, p, q, r, s), b = dot8(w1 + at, p, q, r, s);
      const c = dot8(w2 + at, p, q, r, s), d = dot8(w3 + at, p, q, r, s);
      sum = scaled(sum, wholeSums(a, b, c, d), v128.load32_splat(x, 64), scales);
      scales = second, second = third, third = fourth;
    }
  }
  return sum;
}

/** The same of 4 bits. */
export function fourOutputs4(
  x: usize,
  w0: usize,
  stride: usize,
  s0: usize,
  scaleStride: usize,
  blocks: usize,
): v128 {
  const w1 = w0 + stride, w2 = w1 + stride, w3 = w2 + stride;
  const s1 = s0 + scaleStride, s2 = s1 + scaleStride, s3 = s2 + scaleStride;
  const mask = lowBits(x), turned = highestBits(mask);
  let sum = f32x4.splat(0);
  for (let i: usize = 0; i < blocks; i += 4) {
    const by = i << 2, left = blocks - i, end = (min(blocks, i + 4)) << 4;
    const e = scalesAt(s0 + by, left), f = scalesAt(s1 + by, left);
    const g = scalesAt(s2 + by, left), h = scalesAt(s3 + by, left);
    let scales = firstOf(e, f, g, h), second = secondOf(e, f, g, h);
    let third = thirdOf(e, f, g, h), fourth = fourthOf(e, f, g, h);
    for (let at = i << 4; at < end; at += 16, x += blockBytes) {
      const p = v128.load(x), q = v128.load(x, 16), r = v128.load(x, 32), s = v128.load(x, 48);
      const a = dot4(w0 + at, p, q, r, s, turned, mask), b = dot4(w1 + at, p, q, r, s, turned, mask);
      const c = dot4(w2 + at, p, q, r, s, turned, mask), d = dot4(w3 + at, p, q, r, s, turned, mask);
      const factors = v128.load64_zero(x, 64), less = i32x4.shuffle(factors, factors, 1, 1, 1, 1);
      const scale = i32x4.shuffle(factors, factors, 0, 0, 0, 0);
      sum = scaled(sum, i32x4.add(wholeSums(a, b, c, d), less), scale, scales);
      scales = second, second = third, third = fourth;
    }
  }
  return sum;
}

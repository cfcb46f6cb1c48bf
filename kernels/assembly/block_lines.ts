// deno-fmt-ignore-file: the formatter drops `@inline`.
// Lines of a weight whose numbers need more than a scale (kernels/formats): products of a packed row of x with four lines,
// and their numbers as a group of a panel. The sums are the same in the same order.
import { multiplyAdd, wholeSums } from "./lanes";
import { blockBytes } from "./packed";
import { placePairs, placeWide, scaled } from "./panels";
import { dot4, highestBits, lowBits, lowBitsOfBytes } from "./quantized_lines";

/** The high bits of 32 numbers of 6 bits, of 8 bytes: those of the even quads in place; of the odd ones, two bits higher. */
@inline
function highBits(from: usize): v128 {
  const pair = v128.load64_zero(from), both = i32x4.shuffle(pair, pair, 0, 0, 1, 1);
  return i32x4.shuffle(both, i32x4.shr_u(both, 4), 0, 5, 2, 7);
}

/** Bits 4 and 5 of each byte, of the lowest four; and the higher one alone: what 6 bits are more than they stand for. */
@inline
function upperBits(mask: v128): v128 {
  return i16x8.shl(v128.and(mask, i16x8.shr_u(mask, 2)), 4);
}

@inline
function highestOf(upper: v128): v128 {
  return v128.and(upper, i16x8.shl(upper, 1));
}

/** Numbers of 6 bits of their four low bits, which others follow, and of two high ones, which others surround. */
@inline
function sixBits(low: v128, high: v128, mask: v128, upper: v128, most: v128): v128 {
  return i8x16.sub(v128.or(v128.and(low, mask), v128.and(high, upper)), most);
}

/** A packed row times four lines of 4 bits, `apart` bytes from one to the next, with what each element is less. */
export function fourLinesQ4(x: usize, w0: usize, apart: usize, scales: usize, blocks: usize): v128 {
  const w1 = w0 + apart, w2 = w1 + apart, w3 = w2 + apart, mask = lowBits(x), turned = highestBits(mask);
  let sum = f32x4.splat(0);
  for (let at: usize = 0; at < blocks << 4; at += 16, x += blockBytes, scales += 32) {
    const p = v128.load(x), q = v128.load(x, 16), r = v128.load(x, 32), s = v128.load(x, 48);
    const a = dot4(w0 + at, p, q, r, s, turned, mask), b = dot4(w1 + at, p, q, r, s, turned, mask);
    const c = dot4(w2 + at, p, q, r, s, turned, mask), d = dot4(w3 + at, p, q, r, s, turned, mask);
    const factors = v128.load64_zero(x, 64), scale = i32x4.shuffle(factors, factors, 0, 0, 0, 0);
    const total = f32x4.convert_i32x4_s(i32x4.shuffle(factors, factors, 1, 1, 1, 1));
    sum = scaled(sum, wholeSums(a, b, c, d), scale, v128.load(scales));
    sum = multiplyAdd(sum, total, f32x4.mul(scale, v128.load(scales, 16)));
  }
  return sum;
}

/** Where block `i` of a line of 6 bits has its low bits, and its high ones. */
@inline
function lowAt(line: usize, i: usize): usize {
  return line + (i >> 3) * 192 + ((i & 7) << 4);
}

@inline
function highAt(line: usize, i: usize): usize {
  return line + (i >> 3) * 192 + 128 + ((i & 7) << 3);
}

/** The numbers of the even quads of a block of 6 bits, as bytes, and those of the odd quads. */
@inline
function evenSix(line: usize, i: usize, mask: v128, upper: v128, most: v128): v128 {
  return sixBits(v128.load(lowAt(line, i)), i16x8.shl(highBits(highAt(line, i)), 4), mask, upper, most);
}

@inline
function oddSix(line: usize, i: usize, mask: v128, upper: v128, most: v128): v128 {
  return sixBits(i16x8.shr_u(v128.load(lowAt(line, i)), 4), i16x8.shl(highBits(highAt(line, i)), 2), mask, upper, most);
}

/** The same of 6 bits, whose halves have scales of their own. */
export function fourLinesQ6(x: usize, w0: usize, apart: usize, scales: usize, blocks: usize): v128 {
  const w1 = w0 + apart, w2 = w1 + apart, w3 = w2 + apart, mask = lowBitsOfBytes(x);
  const upper = upperBits(mask), most = highestOf(upper);
  let sum = f32x4.splat(0);
  for (let i: usize = 0; i < blocks; i++, x += blockBytes, scales += 32) {
    const a = evenSix(w0, i, mask, upper, most), b = evenSix(w1, i, mask, upper, most);
    const c = evenSix(w2, i, mask, upper, most), d = evenSix(w3, i, mask, upper, most);
    const e = oddSix(w0, i, mask, upper, most), f = oddSix(w1, i, mask, upper, most);
    const g = oddSix(w2, i, mask, upper, most), h = oddSix(w3, i, mask, upper, most);
    const scale = v128.load32_splat(x, 64);
    let p = v128.load(x), q = v128.load(x, 16);
    let sums = wholeSums(firstDot(p, q, a, e), firstDot(p, q, b, f), firstDot(p, q, c, g), firstDot(p, q, d, h));
    sum = scaled(sum, sums, scale, v128.load(scales));
    p = v128.load(x, 32), q = v128.load(x, 48);
    sums = wholeSums(lastDot(p, q, a, e), lastDot(p, q, b, f), lastDot(p, q, c, g), lastDot(p, q, d, h));
    sum = scaled(sum, sums, scale, v128.load(scales, 16));
  }
  return sum;
}

@inline
function firstDot(p: v128, q: v128, even: v128, odd: v128): v128 {
  return i32x4.add(
    i32x4.dot_i16x8_s(p, i16x8.extend_low_i8x16_s(even)),
    i32x4.dot_i16x8_s(q, i16x8.extend_low_i8x16_s(odd)),
  );
}

@inline
function lastDot(p: v128, q: v128, even: v128, odd: v128): v128 {
  return i32x4.add(
    i32x4.dot_i16x8_s(p, i16x8.extend_high_i8x16_s(even)),
    i32x4.dot_i16x8_s(q, i16x8.extend_high_i8x16_s(odd)),
  );
}

/** Numbers of four lines of 4 bits, as a group of a panel. */
export function placeQ4(w0: usize, w1: usize, w2: usize, w3: usize, blocks: usize, to: usize, x: usize): void {
  const mask = lowBits(x), turned = highestBits(mask);
  for (let at: usize = 0; at < blocks << 4; at += 16, to += 512) {
    const a = v128.xor(v128.load(w0 + at), turned), b = v128.xor(v128.load(w1 + at), turned);
    const c = v128.xor(v128.load(w2 + at), turned), d = v128.xor(v128.load(w3 + at), turned);
    for (let n: i32 = 0; n < 4; n++) {
      const p = v128.and(i16x8.shr_u(a, n << 2), mask), q = v128.and(i16x8.shr_u(b, n << 2), mask);
      const r = v128.and(i16x8.shr_u(c, n << 2), mask), s = v128.and(i16x8.shr_u(d, n << 2), mask);
      placeWide(p, q, r, s, to + (<usize> n << 7));
    }
  }
}

/** The same of 6 bits. */
export function placeQ6(w0: usize, w1: usize, w2: usize, w3: usize, blocks: usize, to: usize, x: usize): void {
  const mask = lowBitsOfBytes(x), upper = upperBits(mask), most = highestOf(upper);
  for (let i: usize = 0; i < blocks; i++, to += 512) {
    const a = evenSix(w0, i, mask, upper, most), b = evenSix(w1, i, mask, upper, most);
    const c = evenSix(w2, i, mask, upper, most), d = evenSix(w3, i, mask, upper, most);
    const e = oddSix(w0, i, mask, upper, most), f = oddSix(w1, i, mask, upper, most);
    const g = oddSix(w2, i, mask, upper, most), h = oddSix(w3, i, mask, upper, most);
    placePairs(
      i64x2.shuffle(a, e, 0, 2),
      i64x2.shuffle(b, f, 0, 2),
      i64x2.shuffle(c, g, 0, 2),
      i64x2.shuffle(d, h, 0, 2),
      to,
    );
    placePairs(
      i64x2.shuffle(a, e, 1, 3),
      i64x2.shuffle(b, f, 1, 3),
      i64x2.shuffle(c, g, 1, 3),
      i64x2.shuffle(d, h, 1, 3),
      to + 256,
    );
  }
}

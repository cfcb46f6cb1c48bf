// deno-fmt-ignore-file: the formatter drops `@inline`.
// Lines of nf4_32 (kernels/formats/nf4_32.ts). Only four products of NF4's numbers by 16 bits fit 32 bits, so that sums are
// of four products, and panels.ts is not for them. For many rows four lines are widened to 16 bits first.
import { multiplyAdd, sums } from "./lanes";
import { blockBytes } from "./packed";
import { lowBitsOfBytes } from "./quantized_lines";

/** Bytes of a block of four widened lines. */
export const wideBytes: usize = 256;

/** NF4's numbers in units of 1 / 16383: four products of them by 16 bits fit 32 bits. */
@inline
function nf4Low(): v128 {
  return i16x8(-16383, -11406, -8602, -6470, -4660, -3027, -1492, 0);
}

@inline
function nf4High(): v128 {
  return i16x8(1304, 2637, 4032, 5536, 7220, 9217, 11844, 16383);
}

/** Writes the low bytes of all 16 and then the high ones: constants would be made anew at each use. */
export function nf4Table(to: usize): void {
  v128.store(to, i8x16.shuffle(nf4Low(), nf4High(), 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
  v128.store(to, i8x16.shuffle(nf4Low(), nf4High(), 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31), 16);
}

/** The bytes of a table by their indices, all below 16. */
@inline
function lookUp(table: v128, at: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? i8x16.relaxed_swizzle(table, at) : i8x16.swizzle(table, at);
}

/** Of sixteen numbers by their low and high bytes, the first eight. */
@inline
function firstNumbers(low: v128, high: v128): v128 {
  return i8x16.shuffle(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/** The last eight. */
@inline
function lastNumbers(low: v128, high: v128): v128 {
  return i8x16.shuffle(low, high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** sum + the products of a block of x with the eighths of a line, low halves of bytes and then high ones, twice. */
@inline
function add(sum: v128, x: usize, p: v128, q: v128, r: v128, s: v128, scale: v128): v128 {
  const first = i32x4.add(i32x4.dot_i16x8_s(v128.load(x), p), i32x4.dot_i16x8_s(v128.load(x, 16), q));
  const last = i32x4.add(i32x4.dot_i16x8_s(v128.load(x, 32), r), i32x4.dot_i16x8_s(v128.load(x, 48), s));
  return multiplyAdd(multiplyAdd(sum, f32x4.convert_i32x4_s(first), scale), f32x4.convert_i32x4_s(last), scale);
}

/** The same of a line as it is stored. */
@inline
function addStored(sum: v128, x: usize, w: usize, scale: v128, low: v128, high: v128, mask: v128): v128 {
  const v = v128.load(w), even = v128.and(v, mask), odd = v128.and(i16x8.shr_u(v, 4), mask);
  const p = lookUp(low, even), q = lookUp(high, even), r = lookUp(low, odd), s = lookUp(high, odd);
  return add(sum, x, firstNumbers(p, q), firstNumbers(r, s), lastNumbers(p, q), lastNumbers(r, s), scale);
}

@inline
function addWide(sum: v128, x: usize, w: usize, scale: v128): v128 {
  return add(sum, x, v128.load(w), v128.load(w, 16), v128.load(w, 32), v128.load(w, 48), scale);
}

/** A packed row times four lines, `apart` bytes from one to the next. */
export function fourLinesNf4(x: usize, w0: usize, apart: usize, scales: usize, blocks: usize, table: usize): v128 {
  const w1 = w0 + apart, w2 = w1 + apart, w3 = w2 + apart;
  const low = v128.load(table), high = v128.load(table, 16), mask = lowBitsOfBytes(x);
  let a = f32x4.splat(0), b = a, c = a, d = a;
  for (let at: usize = 0; at < blocks << 4; at += 16, x += blockBytes, scales += 16) {
    const scale = v128.load32_splat(x, 64), by = f32x4.mul(scale, v128.load(scales));
    a = addStored(a, x, w0 + at, i32x4.shuffle(by, by, 0, 0, 0, 0), low, high, mask);
    b = addStored(b, x, w1 + at, i32x4.shuffle(by, by, 1, 1, 1, 1), low, high, mask);
    c = addStored(c, x, w2 + at, i32x4.shuffle(by, by, 2, 2, 2, 2), low, high, mask);
    d = addStored(d, x, w3 + at, i32x4.shuffle(by, by, 3, 3, 3, 3), low, high, mask);
  }
  return sums(a, b, c, d);
}

/** The same of widened lines. */
export function fourWideLines(x: usize, w: usize, scales: usize, blocks: usize): v128 {
  let a = f32x4.splat(0), b = a, c = a, d = a;
  for (let i: usize = 0; i < blocks; i++, x += blockBytes, scales += 16, w += wideBytes) {
    const scale = v128.load32_splat(x, 64), by = f32x4.mul(scale, v128.load(scales));
    a = addWide(a, x, w, i32x4.shuffle(by, by, 0, 0, 0, 0));
    b = addWide(b, x, w + 64, i32x4.shuffle(by, by, 1, 1, 1, 1));
    c = addWide(c, x, w + 128, i32x4.shuffle(by, by, 2, 2, 2, 2));
    d = addWide(d, x, w + 192, i32x4.shuffle(by, by, 3, 3, 3, 3));
  }
  return sums(a, b, c, d);
}

/** Widens four lines, `apart` bytes from one to the next. */
export function widenNf4(words: usize, apart: usize, blocks: usize, table: usize, to: usize): void {
  const low = v128.load(table), high = v128.load(table, 16), mask = lowBitsOfBytes(table);
  for (let l: usize = 0; l < 4; l++, words += apart, to += 64) {
    for (let i: usize = 0; i < blocks; i++) {
      const v = v128.load(words + (i << 4)), even = v128.and(v, mask), odd = v128.and(i16x8.shr_u(v, 4), mask);
      const p = lookUp(low, even), q = lookUp(high, even), r = lookUp(low, odd), s = lookUp(high, odd);
      const at = to + i * wideBytes;
      v128.store(at, firstNumbers(p, q));
      v128.store(at, firstNumbers(r, s), 16);
      v128.store(at, lastNumbers(p, q), 32);
      v128.store(at, lastNumbers(r, s), 48);
    }
  }
}

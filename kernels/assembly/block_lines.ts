// deno-fmt-ignore-file: the formatter drops `@inline`.
// Products of blocks of x with blocks of a weight (kernels/formats): with numbers widened to 16 bits, and of one row with
// lines as they are stored. The sums are the same in the same order: see blocks.ts.
import { multiplyAdd, sum } from "./lanes";
import { blockBytes } from "./packed";

/** NF4's numbers in units of 1 / 16383: four products of them by 16 bits fit 32 bits. */
@inline
function nf4Low(): v128 {
  return i16x8(-16383, -11406, -8602, -6470, -4660, -3027, -1492, 0);
}

@inline
function nf4High(): v128 {
  return i16x8(1304, 2637, 4032, 5536, 7220, 9217, 11844, 16383);
}

/** The low bytes of all 16. */
@inline
export function nf4LowBytes(): v128 {
  return i8x16.shuffle(nf4Low(), nf4High(), 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

/** The high bytes of all 16. */
@inline
export function nf4HighBytes(): v128 {
  return i8x16.shuffle(nf4Low(), nf4High(), 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

/** Of sixteen numbers by their low and high bytes, the first eight. */
@inline
export function firstNumbers(low: v128, high: v128): v128 {
  return i8x16.shuffle(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/** The last eight. */
@inline
export function lastNumbers(low: v128, high: v128): v128 {
  return i8x16.shuffle(low, high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** The high bits of 32 numbers of 6 bits, of 8 bytes: those of the even quads in place; of the odd ones, two bits higher. */
@inline
export function highBits(from: usize): v128 {
  const pair = v128.load64_zero(from), both = i32x4.shuffle(pair, pair, 0, 0, 1, 1);
  return i32x4.shuffle(both, i32x4.shr_u(both, 4), 0, 5, 2, 7);
}

/** Numbers of 6 bits of their low bits and of two high ones, which lowest in each byte are followed by others. */
@inline
export function sixBits(low: v128, high: v128): v128 {
  const bits = i32x4.shl(v128.and(high, i8x16.splat(3)), 4);
  return i8x16.sub(v128.or(v128.and(low, i8x16.splat(15)), bits), i8x16.splat(32));
}

/** sum + the products of a block of x with one of the weight: its numbers, scales of both halves, and what elements are less. */
@inline
export function add(
  sum: v128,
  x: usize,
  p: v128,
  q: v128,
  r: v128,
  s: v128,
  by: v128,
  second: v128,
  less: v128,
): v128 {
  const scale = v128.load32_splat(x, 64);
  const head = i32x4.add(i32x4.dot_i16x8_s(v128.load(x), p), i32x4.dot_i16x8_s(v128.load(x, 32), r));
  const tail = i32x4.add(i32x4.dot_i16x8_s(v128.load(x, 16), q), i32x4.dot_i16x8_s(v128.load(x, 48), s));
  let made = multiplyAdd(sum, f32x4.convert_i32x4_s(head), f32x4.mul(scale, by));
  made = multiplyAdd(made, f32x4.convert_i32x4_s(tail), f32x4.mul(scale, second));
  // x's block has -8 times its sum.
  const part = f32x4.mul(f32x4.mul(scale, less), f32x4.splat(0.125));
  return multiplyAdd(made, f32x4.convert_i32x4_s(v128.load32_zero(x, 68)), part);
}

/** The same of 4 bits as they are stored. */
@inline
function addFour(sum: v128, x: usize, words: usize, scale: f32, less: f32): v128 {
  const v = v128.xor(v128.load(words), i8x16.splat(-120)), mask = i8x16.splat(15);
  const low = v128.and(v, mask), high = v128.and(i16x8.shr_u(v, 4), mask), by = f32x4.splat(scale);
  return add(
    sum,
    x,
    i16x8.extend_low_i8x16_u(low),
    i16x8.extend_high_i8x16_u(low),
    i16x8.extend_low_i8x16_u(high),
    i16x8.extend_high_i8x16_u(high),
    by,
    by,
    f32x4.splat(less),
  );
}

/** The same of NF4's numbers. */
@inline
function addNf4(sum: v128, x: usize, words: usize, scale: f32): v128 {
  const low = nf4LowBytes(), high = nf4HighBytes(), v = v128.load(words), mask = i8x16.splat(15);
  const even = v128.and(v, mask), odd = v128.and(i16x8.shr_u(v, 4), mask);
  const p = i8x16.swizzle(low, even), q = i8x16.swizzle(high, even);
  const r = i8x16.swizzle(low, odd), s = i8x16.swizzle(high, odd), by = f32x4.splat(scale / 16383);
  return add(
    sum,
    x,
    firstNumbers(p, q),
    lastNumbers(p, q),
    firstNumbers(r, s),
    lastNumbers(r, s),
    by,
    by,
    f32x4.splat(0),
  );
}

/** The same of block `i` of a line of 6 bits. */
@inline
function addSix(sum: v128, x: usize, words: usize, scales: usize, i: usize): v128 {
  const block = words + (i >> 3) * 192, k = i & 7, v = v128.load(block + (k << 4));
  const high = highBits(block + 128 + (k << 3));
  const even = sixBits(v, high), odd = sixBits(i16x8.shr_u(v, 4), i32x4.shr_u(high, 2));
  const at = scales + (i >> 3) * 20, part = at + (k << 1), scale = load<f32>(at);
  return add(
    sum,
    x,
    i16x8.extend_low_i8x16_s(even),
    i16x8.extend_high_i8x16_s(even),
    i16x8.extend_low_i8x16_s(odd),
    i16x8.extend_high_i8x16_s(odd),
    f32x4.splat(scale * <f32> load<i8>(part, 4)),
    f32x4.splat(scale * <f32> load<i8>(part, 5)),
    f32x4.splat(0),
  );
}

export function put(y: usize, value: f32, bias: usize, accumulate: bool): void {
  if (bias) value += load<f32>(bias);
  if (accumulate) value += load<f32>(y);
  store<f32>(y, value);
}

/** One packed row times two lines of q4z_32, so many bytes apart. */
export function twoLinesQ4z(
  x: usize,
  words: usize,
  wordsApart: usize,
  scales: usize,
  scalesApart: usize,
  blocks: usize,
  y: usize,
  apart: usize,
  bias: usize,
  accumulate: bool,
): void {
  let a = f32x4.splat(0), b = a;
  for (let i: usize = 0; i < blocks; i++, x += blockBytes) {
    const at = words + (i << 4), from = scales + (i << 2);
    const p = load<u32>(from), q = load<u32>(from + scalesApart);
    const s = reinterpret<f32>(p & ~0x1fff), t = reinterpret<f32>(q & ~0x1fff);
    a = addFour(a, x, at, s, s * <f32> (p & 0x1fff));
    b = addFour(b, x, at + wordsApart, t, t * <f32> (q & 0x1fff));
  }
  put(y, sum(a), bias, accumulate);
  put(y + apart, sum(b), bias ? bias + apart : 0, accumulate);
}

/** One packed row times two lines of nf4_32, so many bytes apart. */
export function twoLinesNf4(
  x: usize,
  words: usize,
  wordsApart: usize,
  scales: usize,
  scalesApart: usize,
  blocks: usize,
  y: usize,
  apart: usize,
  bias: usize,
  accumulate: bool,
): void {
  let a = f32x4.splat(0), b = a;
  for (let i: usize = 0; i < blocks; i++, x += blockBytes) {
    const at = words + (i << 4), from = scales + (i << 2);
    a = addNf4(a, x, at, load<f32>(from));
    b = addNf4(b, x, at + wordsApart, load<f32>(from + scalesApart));
  }
  put(y, sum(a), bias, accumulate);
  put(y + apart, sum(b), bias ? bias + apart : 0, accumulate);
}

/** One packed row times two lines of q4_k, so many bytes apart. */
export function twoLinesQ4k(
  x: usize,
  words: usize,
  wordsApart: usize,
  scales: usize,
  scalesApart: usize,
  blocks: usize,
  y: usize,
  apart: usize,
  bias: usize,
  accumulate: bool,
): void {
  let a = f32x4.splat(0), b = a;
  for (let i: usize = 0; i < blocks; i++, x += blockBytes) {
    const at = words + (i << 4), p = scales + (i >> 3) * 24, q = p + scalesApart, k = i & 7;
    a = addFour(a, x, at, load<f32>(p) * <f32> load<u8>(p + k, 8), load<f32>(p, 4) * <f32> load<u8>(p + k, 16));
    b = addFour(
      b,
      x,
      at + wordsApart,
      load<f32>(q) * <f32> load<u8>(q + k, 8),
      load<f32>(q, 4) * <f32> load<u8>(q + k, 16),
    );
  }
  put(y, sum(a), bias, accumulate);
  put(y + apart, sum(b), bias ? bias + apart : 0, accumulate);
}

/** One packed row times two lines of q6_k, so many bytes apart. */
export function twoLinesQ6k(
  x: usize,
  words: usize,
  wordsApart: usize,
  scales: usize,
  scalesApart: usize,
  blocks: usize,
  y: usize,
  apart: usize,
  bias: usize,
  accumulate: bool,
): void {
  let a = f32x4.splat(0), b = a;
  for (let i: usize = 0; i < blocks; i++, x += blockBytes) {
    a = addSix(a, x, words, scales, i);
    b = addSix(b, x, words + wordsApart, scales + scalesApart, i);
  }
  put(y, sum(a), bias, accumulate);
  put(y + apart, sum(b), bias ? bias + apart : 0, accumulate);
}

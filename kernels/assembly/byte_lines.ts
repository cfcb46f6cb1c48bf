// deno-fmt-ignore-file: the formatter drops `@inline`.
// Products of a row of x in bytes (bytes.ts) with four lines of a weight of 8 or 4 bits, as they are stored.
//
// `turned` is what the bits of a byte are turned by, to be a number without sign or two of them.
import { wholeSums } from "./lanes";
import { byteBlock, dotBytes } from "./bytes";
import { scaled } from "./panels";
import { firstOf, fourthOf, lowBitsOfBytes, scalesAt, secondOf, thirdOf } from "./quantized_lines";

/** The products of a block of x with one of 8 bits, in four partial sums that begin with `sum`. */
@inline
function dot8(sum: v128, w: usize, p: v128, q: v128, turned: v128): v128 {
  sum = dotBytes(sum, p, v128.xor(v128.load(w), turned));
  return dotBytes(sum, q, v128.xor(v128.load(w, 16), turned));
}

/** The same with one of 4 bits. */
@inline
function dot4(sum: v128, w: usize, p: v128, q: v128, turned: v128, mask: v128): v128 {
  const v = v128.xor(v128.load(w), turned);
  return dotBytes(dotBytes(sum, p, v128.and(v, mask)), q, v128.and(i16x8.shr_u(v, 4), mask));
}

/** A row of x times four lines of 8 bits, `stride` bytes apart, whose scales are `scaleStride` bytes apart. */
export function fourByteOutputs8(
  x: usize,
  w0: usize,
  stride: usize,
  s0: usize,
  scaleStride: usize,
  blocks: usize,
  turned: i32,
): v128 {
  const w1 = w0 + stride, w2 = w1 + stride, w3 = w2 + stride;
  const s1 = s0 + scaleStride, s2 = s1 + scaleStride, s3 = s2 + scaleStride;
  const turn = i8x16.splat(<i8> turned);
  let sum = f32x4.splat(0);
  for (let i: usize = 0; i < blocks; i += 4) {
    const by = i << 2, left = blocks - i, end = (min(blocks, i + 4)) << 5;
    const e = scalesAt(s0 + by, left), f = scalesAt(s1 + by, left);
    const g = scalesAt(s2 + by, left), h = scalesAt(s3 + by, left);
    let scales = firstOf(e, f, g, h), second = secondOf(e, f, g, h);
    let third = thirdOf(e, f, g, h), fourth = fourthOf(e, f, g, h);
    for (let at = i << 5; at < end; at += 32, x += byteBlock) {
      const p = v128.load(x), q = v128.load(x, 16), first = v128.load32_zero(x, 36);
      const a = dot8(first, w0 + at, p, q, turn), b = dot8(first, w1 + at, p, q, turn);
      const c = dot8(first, w2 + at, p, q, turn), d = dot8(first, w3 + at, p, q, turn);
      sum = scaled(sum, wholeSums(a, b, c, d), v128.load32_splat(x, 32), scales);
      scales = second, second = third, third = fourth;
    }
  }
  return sum;
}

/** The same of 4 bits. */
export function fourByteOutputs4(
  x: usize,
  w0: usize,
  stride: usize,
  s0: usize,
  scaleStride: usize,
  blocks: usize,
  turned: i32,
): v128 {
  const w1 = w0 + stride, w2 = w1 + stride, w3 = w2 + stride;
  const s1 = s0 + scaleStride, s2 = s1 + scaleStride, s3 = s2 + scaleStride;
  const turn = i8x16.splat(<i8> turned), mask = lowBitsOfBytes(x);
  let sum = f32x4.splat(0);
  for (let i: usize = 0; i < blocks; i += 4) {
    const by = i << 2, left = blocks - i, end = (min(blocks, i + 4)) << 4;
    const e = scalesAt(s0 + by, left), f = scalesAt(s1 + by, left);
    const g = scalesAt(s2 + by, left), h = scalesAt(s3 + by, left);
    let scales = firstOf(e, f, g, h), second = secondOf(e, f, g, h);
    let third = thirdOf(e, f, g, h), fourth = fourthOf(e, f, g, h);
    for (let at = i << 4; at < end; at += 16, x += byteBlock) {
      const p = v128.load(x), q = v128.load(x, 16), first = v128.load32_zero(x, 36);
      const a = dot4(first, w0 + at, p, q, turn, mask), b = dot4(first, w1 + at, p, q, turn, mask);
      const c = dot4(first, w2 + at, p, q, turn, mask), d = dot4(first, w3 + at, p, q, turn, mask);
      sum = scaled(sum, wholeSums(a, b, c, d), v128.load32_splat(x, 32), scales);
      scales = second, second = third, third = fourth;
    }
  }
  return sum;
}

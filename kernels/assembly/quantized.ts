// y = or += x W^T (+ bias) by a weight in blocks of 32 numbers of 8 or 4 bits (see kernels/formats/q32/blocks.ts).
//
// Each block of x is rounded to 16 bits by a scale of its own, so that products of a block are exact integers, eight to
// an instruction: off by 2^-16 of the block's largest element, where the weight is off by 2^-8 of its own.
import { put } from "./linear";
import { largest, loadTail, sums } from "./lanes";

/** Bytes of a block of x: 32 numbers of 16 bits, the scale, and 8 times their sum, negative. */
const blockBytes: usize = 72;

/** Rounds four elements to multiples of a scale. */
function rounded(v: v128, inverse: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v, inverse)));
}

/** Four elements of a row from element `at` on, zeros past its end. */
function quad(x: usize, at: usize, count: usize): v128 {
  if (at + 4 <= count) return v128.load(x + (at << 2));
  return at < count ? loadTail(x + (at << 2), count - at) : f32x4.splat(0);
}

/** Where quad q of a block goes: in order, or as 4 bits are unpacked, low halves first. */
function placeOf(q: usize, bits: u32): usize {
  return (bits == 8 ? q : (q >> 1) + ((q & 1) << 2)) << 3;
}

/** Rounds a row of x to blocks. */
function pack(x: usize, count: usize, bits: u32, to: usize): void {
  for (let begin: usize = 0; begin < count; begin += 32, to += blockBytes) {
    let most = f32x4.splat(0);
    for (let q: usize = 0; q < 8; q++) most = f32x4.max(most, f32x4.abs(quad(x, begin + 4 * q, count)));
    const scale = largest(most) / 32767;
    const inverse = f32x4.splat(scale > 0 ? 1 / scale : 0);
    let total = i32x4.splat(0);
    for (let q: usize = 0; q < 8; q++) {
      const v = rounded(quad(x, begin + 4 * q, count), inverse);
      total = i32x4.add(total, v);
      v128.store64_lane(to + placeOf(q, bits), i16x8.narrow_i32x4_s(v, v), 0);
    }
    store<f32>(to, scale, 64);
    const sum = i32x4.extract_lane(total, 0) + i32x4.extract_lane(total, 1) + i32x4.extract_lane(total, 2) +
      i32x4.extract_lane(total, 3);
    store<i32>(to, -8 * sum, 68);
  }
}

/** The integer products of a block of x with one of 8 bits, in four partial sums. */
function dot8(w: usize, a: v128, b: v128, c: v128, d: v128): v128 {
  const low = i32x4.add(i32x4.dot_i16x8_s(a, v128.load8x8_s(w)), i32x4.dot_i16x8_s(b, v128.load8x8_s(w, 8)));
  const high = i32x4.add(
    i32x4.dot_i16x8_s(c, v128.load8x8_s(w, 16)),
    i32x4.dot_i16x8_s(d, v128.load8x8_s(w, 24)),
  );
  return i32x4.add(low, high);
}

/** The same with one of 4 bits: halves of bytes as 0 to 15, which is 8 more than they stand for; `less` takes that off. */
function dot4(w: usize, a: v128, b: v128, c: v128, d: v128, less: v128): v128 {
  const v = v128.xor(v128.load(w), i8x16.splat(-120));
  const low = v128.and(v, i8x16.splat(15)), high = v128.and(i16x8.shr_u(v, 4), i8x16.splat(15));
  const first = i32x4.add(
    i32x4.dot_i16x8_s(a, i16x8.extend_low_i8x16_u(low)),
    i32x4.dot_i16x8_s(b, i16x8.extend_high_i8x16_u(low)),
  );
  const second = i32x4.add(
    i32x4.dot_i16x8_s(c, i16x8.extend_low_i8x16_u(high)),
    i32x4.dot_i16x8_s(d, i16x8.extend_high_i8x16_u(high)),
  );
  return i32x4.add(i32x4.add(first, second), less);
}

/** sum + products, as floats, times their block's scales. */
function scaled(sum: v128, products: v128, scale: v128, scales: usize): v128 {
  return f32x4.add(
    sum,
    f32x4.mul(f32x4.convert_i32x4_s(products), f32x4.mul(scale, v128.load32_splat(scales))),
  );
}

/** A packed row of x times four rows of 8 bits, `stride` bytes apart, whose scales are `scaleStride` bytes apart. */
function fourOutputs8(
  x: usize,
  w0: usize,
  stride: usize,
  s0: usize,
  scaleStride: usize,
  blocks: usize,
): v128 {
  const w1 = w0 + stride, w2 = w1 + stride, w3 = w2 + stride;
  const s1 = s0 + scaleStride, s2 = s1 + scaleStride, s3 = s2 + scaleStride;
  let a = f32x4.splat(0), b = a, c = a, d = a;
  for (let i: usize = 0; i < blocks; i++, x += blockBytes) {
    const p = v128.load(x), q = v128.load(x, 16), r = v128.load(x, 32), s = v128.load(x, 48);
    const scale = v128.load32_splat(x, 64), at = i << 5, by = i << 2;
    a = scaled(a, dot8(w0 + at, p, q, r, s), scale, s0 + by);
    b = scaled(b, dot8(w1 + at, p, q, r, s), scale, s1 + by);
    c = scaled(c, dot8(w2 + at, p, q, r, s), scale, s2 + by);
    d = scaled(d, dot8(w3 + at, p, q, r, s), scale, s3 + by);
  }
  return sums(a, b, c, d);
}

/** The same of 4 bits. */
function fourOutputs4(
  x: usize,
  w0: usize,
  stride: usize,
  s0: usize,
  scaleStride: usize,
  blocks: usize,
): v128 {
  const w1 = w0 + stride, w2 = w1 + stride, w3 = w2 + stride;
  const s1 = s0 + scaleStride, s2 = s1 + scaleStride, s3 = s2 + scaleStride;
  let a = f32x4.splat(0), b = a, c = a, d = a;
  for (let i: usize = 0; i < blocks; i++, x += blockBytes) {
    const p = v128.load(x), q = v128.load(x, 16), r = v128.load(x, 32), s = v128.load(x, 48);
    const scale = v128.load32_splat(x, 64), less = v128.load32_zero(x, 68), at = i << 4, by = i << 2;
    a = scaled(a, dot4(w0 + at, p, q, r, s, less), scale, s0 + by);
    b = scaled(b, dot4(w1 + at, p, q, r, s, less), scale, s1 + by);
    c = scaled(c, dot4(w2 + at, p, q, r, s, less), scale, s2 + by);
    d = scaled(d, dot4(w3 + at, p, q, r, s, less), scale, s3 + by);
  }
  return sums(a, b, c, d);
}

/**
 * Rows of x (rows, inSize) times a weight (outSize, inSize) of 8 or 4 bits. Strides are elements from row to row; `bias`
 * is 0 for none. Scratch holds 72 bytes for each 32 elements of a row of x, the last ones maybe fewer.
 */
export function quantized_linear(
  x: usize,
  xStride: usize,
  words: usize,
  scales: usize,
  bias: usize,
  y: usize,
  yStride: usize,
  scratch: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  bits: u32,
  accumulate: bool,
): void {
  const blocks = (inSize + 31) >> 5, packed = blocks * blockBytes;
  for (let r: usize = 0; r < rows; r++) pack(x + ((r * xStride) << 2), inSize, bits, scratch + r * packed);
  const line = blocks * (<usize> bits << 2), scaleLine = blocks << 2;
  const quarter = outSize >> 2, apart = quarter << 2;
  for (let o: usize = 0; o < quarter; o++) {
    const w = words + o * line, s = scales + o * scaleLine, b = bias ? bias + (o << 2) : 0;
    for (let r: usize = 0; r < rows; r++) {
      const from = scratch + r * packed;
      const products = bits == 8
        ? fourOutputs8(from, w, quarter * line, s, quarter * scaleLine, blocks)
        : fourOutputs4(from, w, quarter * line, s, quarter * scaleLine, blocks);
      put(y + ((r * yStride + o) << 2), apart, products, b, accumulate);
    }
  }
  // Up to three more, each as if it were four.
  for (let o: usize = 4 * quarter; o < outSize; o++) {
    const w = words + o * line, s = scales + o * scaleLine;
    for (let r: usize = 0; r < rows; r++) {
      const from = scratch + r * packed, at = y + ((r * yStride + o) << 2);
      const products = bits == 8
        ? fourOutputs8(from, w, 0, s, 0, blocks)
        : fourOutputs4(from, w, 0, s, 0, blocks);
      let value = f32x4.extract_lane(products, 0);
      if (bias) value += load<f32>(bias + (o << 2));
      if (accumulate) value += load<f32>(at);
      store<f32>(at, value);
    }
  }
}

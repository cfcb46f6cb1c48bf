// y = or += x W^T (+ bias) by a weight in blocks of 32 numbers of 8 or 4 bits (see kernels/formats/q32/blocks.ts).
//
// Each block of x is rounded to 16 bits by a scale of its own, so that products of a block are exact integers, eight to
// an instruction: off by 2^-16 of the block's largest element, where the weight is off by 2^-8 of its own.
//
// Of many rows of x, lines of the weight are widened to 16 bits once, and meet all rows in tiles of three by three. Sums are
// the same in the same order: a row's result does not depend on its company.
import { put } from "./linear";
import { largest, loadTail, multiplyAdd, sums } from "./lanes";
import { put as putThree } from "./tiles";

/** Bytes of a block of x: 32 numbers of 16 bits, the scale, and with 4 bits 8 times their sum, negative; else 0. */
export const blockBytes: usize = 72;

/** Bytes of a block of the weight widened to 16 bits. */
const wideBytes: usize = 64;

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
    store<i32>(to, bits == 4 ? -8 * sum : 0, 68);
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
  return multiplyAdd(
    sum,
    f32x4.convert_i32x4_s(products),
    f32x4.mul(scale, v128.load32_splat(scales)),
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

/** Sixteen numbers of 8 bits times a scale, as floats. */
function sixteen(to: usize, v: v128, scale: v128): void {
  const low = i16x8.extend_low_i8x16_s(v), high = i16x8.extend_high_i8x16_s(v);
  v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low)), scale));
  v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low)), scale), 16);
  v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high)), scale), 32);
  v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high)), scale), 48);
}

/** Blocks of a line as floats, exactly. */
export function unpack(words: usize, scales: usize, blocks: usize, bits: u32, to: usize): void {
  for (let i: usize = 0; i < blocks; i++, to += 128) {
    const scale = v128.load32_splat(scales + (i << 2)), v = v128.load(words);
    if (bits == 8) {
      sixteen(to, v, scale);
      sixteen(to + 64, v128.load(words, 16), scale);
    } else {
      const half = v128.xor(v, i8x16.splat(-120)), eight = i8x16.splat(8);
      const low = i8x16.sub(v128.and(half, i8x16.splat(15)), eight);
      const high = i8x16.sub(v128.and(i16x8.shr_u(half, 4), i8x16.splat(15)), eight);
      sixteen(to, i32x4.shuffle(low, high, 0, 4, 1, 5), scale);
      sixteen(to + 64, i32x4.shuffle(low, high, 2, 6, 3, 7), scale);
    }
    words += <usize> bits << 2;
  }
}

/** Widens the blocks of a line of the weight to 16 bits, in the order of x's blocks; 4 bits become 0 to 15. */
function widen(words: usize, blocks: usize, bits: u32, to: usize): void {
  if (bits == 8) {
    for (let i: usize = 0; i < blocks << 5; i += 8) v128.store(to + 2 * i, v128.load8x8_s(words + i));
    return;
  }
  for (let i: usize = 0; i < blocks; i++, to += wideBytes) {
    const v = v128.xor(v128.load(words + (i << 4)), i8x16.splat(-120));
    const low = v128.and(v, i8x16.splat(15)), high = v128.and(i16x8.shr_u(v, 4), i8x16.splat(15));
    v128.store(to, i16x8.extend_low_i8x16_u(low));
    v128.store(to, i16x8.extend_high_i8x16_u(low), 16);
    v128.store(to, i16x8.extend_low_i8x16_u(high), 32);
    v128.store(to, i16x8.extend_high_i8x16_u(high), 48);
  }
}

/**
 * Up to three packed rows of x times three widened lines of the weight, or one; rows that are not there are computed and
 * left.
 */
function tile(
  x: usize,
  packed: usize,
  w: usize,
  wStride: usize,
  s: usize,
  scaleStride: usize,
  blocks: usize,
  y: usize,
  yStride: usize,
  apart: usize,
  bias: usize,
  accumulate: bool,
  rows: usize,
  outputs: usize,
): void {
  let x0 = x, x1 = rows > 1 ? x0 + packed : x0, x2 = rows > 2 ? x1 + packed : x1;
  const w1 = w + wStride, w2 = w1 + wStride, s1 = s + scaleStride, s2 = s1 + scaleStride;
  let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a;
  for (let n: usize = 0; n < blocks; n++, x0 += blockBytes, x1 += blockBytes, x2 += blockBytes) {
    const at = n << 6, by = n << 2;
    let u = v128.load32_zero(x0, 68), v = v128.load32_zero(x1, 68), t = v128.load32_zero(x2, 68);
    let j = u, k = v, l = t, m = u, o = v, p = t, q = u, r = v, z = t, wide: v128;
    u = v128.load(x0), v = v128.load(x1), t = v128.load(x2);
    wide = v128.load(w + at);
    j = i32x4.add(j, i32x4.dot_i16x8_s(u, wide));
    k = i32x4.add(k, i32x4.dot_i16x8_s(v, wide));
    l = i32x4.add(l, i32x4.dot_i16x8_s(t, wide));
    wide = v128.load(w1 + at);
    m = i32x4.add(m, i32x4.dot_i16x8_s(u, wide));
    o = i32x4.add(o, i32x4.dot_i16x8_s(v, wide));
    p = i32x4.add(p, i32x4.dot_i16x8_s(t, wide));
    wide = v128.load(w2 + at);
    q = i32x4.add(q, i32x4.dot_i16x8_s(u, wide));
    r = i32x4.add(r, i32x4.dot_i16x8_s(v, wide));
    z = i32x4.add(z, i32x4.dot_i16x8_s(t, wide));
    u = v128.load(x0, 16), v = v128.load(x1, 16), t = v128.load(x2, 16);
    wide = v128.load(w + at, 16);
    j = i32x4.add(j, i32x4.dot_i16x8_s(u, wide));
    k = i32x4.add(k, i32x4.dot_i16x8_s(v, wide));
    l = i32x4.add(l, i32x4.dot_i16x8_s(t, wide));
    wide = v128.load(w1 + at, 16);
    m = i32x4.add(m, i32x4.dot_i16x8_s(u, wide));
    o = i32x4.add(o, i32x4.dot_i16x8_s(v, wide));
    p = i32x4.add(p, i32x4.dot_i16x8_s(t, wide));
    wide = v128.load(w2 + at, 16);
    q = i32x4.add(q, i32x4.dot_i16x8_s(u, wide));
    r = i32x4.add(r, i32x4.dot_i16x8_s(v, wide));
    z = i32x4.add(z, i32x4.dot_i16x8_s(t, wide));
    u = v128.load(x0, 32), v = v128.load(x1, 32), t = v128.load(x2, 32);
    wide = v128.load(w + at, 32);
    j = i32x4.add(j, i32x4.dot_i16x8_s(u, wide));
    k = i32x4.add(k, i32x4.dot_i16x8_s(v, wide));
    l = i32x4.add(l, i32x4.dot_i16x8_s(t, wide));
    wide = v128.load(w1 + at, 32);
    m = i32x4.add(m, i32x4.dot_i16x8_s(u, wide));
    o = i32x4.add(o, i32x4.dot_i16x8_s(v, wide));
    p = i32x4.add(p, i32x4.dot_i16x8_s(t, wide));
    wide = v128.load(w2 + at, 32);
    q = i32x4.add(q, i32x4.dot_i16x8_s(u, wide));
    r = i32x4.add(r, i32x4.dot_i16x8_s(v, wide));
    z = i32x4.add(z, i32x4.dot_i16x8_s(t, wide));
    u = v128.load(x0, 48), v = v128.load(x1, 48), t = v128.load(x2, 48);
    wide = v128.load(w + at, 48);
    j = i32x4.add(j, i32x4.dot_i16x8_s(u, wide));
    k = i32x4.add(k, i32x4.dot_i16x8_s(v, wide));
    l = i32x4.add(l, i32x4.dot_i16x8_s(t, wide));
    wide = v128.load(w1 + at, 48);
    m = i32x4.add(m, i32x4.dot_i16x8_s(u, wide));
    o = i32x4.add(o, i32x4.dot_i16x8_s(v, wide));
    p = i32x4.add(p, i32x4.dot_i16x8_s(t, wide));
    wide = v128.load(w2 + at, 48);
    q = i32x4.add(q, i32x4.dot_i16x8_s(u, wide));
    r = i32x4.add(r, i32x4.dot_i16x8_s(v, wide));
    z = i32x4.add(z, i32x4.dot_i16x8_s(t, wide));
    u = v128.load32_splat(x0, 64), v = v128.load32_splat(x1, 64), t = v128.load32_splat(x2, 64);
    a = scaled(a, j, u, s + by);
    b = scaled(b, k, v, s + by);
    c = scaled(c, l, t, s + by);
    d = scaled(d, m, u, s1 + by);
    e = scaled(e, o, v, s1 + by);
    f = scaled(f, p, t, s1 + by);
    g = scaled(g, q, u, s2 + by);
    h = scaled(h, r, v, s2 + by);
    i = scaled(i, z, t, s2 + by);
  }
  putThree(y, apart, sums(a, d, g, g), bias, 1, accumulate, outputs);
  if (rows > 1) putThree(y + yStride, apart, sums(b, e, h, h), bias, 1, accumulate, outputs);
  if (rows > 2) putThree(y + 2 * yStride, apart, sums(c, f, i, i), bias, 1, accumulate, outputs);
}

/**
 * All packed rows times `lines` lines of the weight, which are widened first; with `outputs` 3 also those `third` and twice
 * `third` lines on.
 */
function panel(
  x: usize,
  words: usize,
  scales: usize,
  bias: usize,
  y: usize,
  yStride: usize,
  wide: usize,
  lines: usize,
  third: usize,
  rows: usize,
  blocks: usize,
  bits: u32,
  accumulate: bool,
  outputs: usize,
): void {
  const packed = blocks * blockBytes, line = blocks * (<usize> bits << 2), scaleLine = blocks << 2;
  const wideLine = blocks * wideBytes, wideThird = lines * wideLine;
  for (let t: usize = 0; t < outputs; t++) {
    for (let l: usize = 0; l < lines; l++) {
      widen(words + (t * third + l) * line, blocks, bits, wide + t * wideThird + l * wideLine);
    }
  }
  // A tile of one output takes its line for all three.
  const wStride = outputs == 1 ? 0 : wideThird, scaleStride = outputs == 1 ? 0 : third * scaleLine;
  for (let r: usize = 0; r < rows; r += 3) {
    const from = x + r * packed, to = y + r * yStride, held = min(rows - r, <usize> 3);
    for (let l: usize = 0; l < lines; l++) {
      const w = wide + l * wideLine, s = scales + l * scaleLine, at = to + (l << 2);
      const b = bias ? bias + (l << 2) : 0, apart = third << 2;
      tile(
        from,
        packed,
        w,
        wStride,
        s,
        scaleStride,
        blocks,
        at,
        yStride,
        apart,
        b,
        accumulate,
        held,
        outputs,
      );
    }
  }
}

/** Rounds rows of x to blocks. An item is a row. */
export function quantize_rows(
  x: usize,
  xStride: usize,
  packed: usize,
  inSize: usize,
  bits: u32,
  begin: usize,
  end: usize,
): void {
  const line = ((inSize + 31) >> 5) * blockBytes;
  for (let r = begin; r < end; r++) pack(x + ((r * xStride) << 2), inSize, bits, packed + r * line);
}

/** The product of many packed rows. The strides of y are bytes. An item is lines, as in tiles.ts. */
function manyRows(
  x: usize,
  words: usize,
  scales: usize,
  bias: usize,
  y: usize,
  yStride: usize,
  wide: usize,
  most: usize,
  rows: usize,
  blocks: usize,
  outSize: usize,
  bits: u32,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  const line = blocks * (<usize> bits << 2),
    scaleLine = blocks << 2,
    third = outSize / 3,
    stop = min(end, third);
  for (let o = begin; o < stop; o += most) {
    const w = words + o * line, s = scales + o * scaleLine, b = bias ? bias + (o << 2) : 0;
    const to = y + (o << 2), lines = min(most, stop - o);
    panel(x, w, s, b, to, yStride, wide, lines, third, rows, blocks, bits, accumulate, 3);
  }
  for (let o: usize = 2 * third + max(begin, third); o < 2 * third + end; o++) {
    const w = words + o * line, s = scales + o * scaleLine, b = bias ? bias + (o << 2) : 0;
    panel(x, w, s, b, y + (o << 2), yStride, wide, 1, 0, rows, blocks, bits, accumulate, 1);
  }
}

/**
 * Rows of x times a weight (outSize, inSize) of 8 or 4 bits. `packed` has the rows from `quantize_rows`; `bias` is 0 for
 * none. Of many rows `wide` holds 64 bytes for each 32 elements of three times `lines` rows of the weight; of few, `lines` is
 * 0. An item is outputs, as of `linear`.
 */
export function quantized_linear(
  packed: usize,
  words: usize,
  scales: usize,
  bias: usize,
  y: usize,
  yStride: usize,
  wide: usize,
  lines: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  bits: u32,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  const blocks = (inSize + 31) >> 5, width = blocks * blockBytes;
  if (lines) {
    const to = yStride << 2;
    manyRows(
      packed,
      words,
      scales,
      bias,
      y,
      to,
      wide,
      lines,
      rows,
      blocks,
      outSize,
      bits,
      accumulate,
      begin,
      end,
    );
    return;
  }
  const line = blocks * (<usize> bits << 2), scaleLine = blocks << 2;
  const quarter = outSize >> 2, apart = quarter << 2;
  for (let o = begin; o < min(end, quarter); o++) {
    const w = words + o * line, s = scales + o * scaleLine, b = bias ? bias + (o << 2) : 0;
    for (let r: usize = 0; r < rows; r++) {
      const from = packed + r * width;
      const products = bits == 8
        ? fourOutputs8(from, w, quarter * line, s, quarter * scaleLine, blocks)
        : fourOutputs4(from, w, quarter * line, s, quarter * scaleLine, blocks);
      put(y + ((r * yStride + o) << 2), apart, products, b, accumulate);
    }
  }
  // Up to three more, each as if it were four.
  for (let o = 3 * quarter + max(begin, quarter); o < 3 * quarter + end; o++) {
    const w = words + o * line, s = scales + o * scaleLine;
    for (let r: usize = 0; r < rows; r++) {
      const from = packed + r * width, at = y + ((r * yStride + o) << 2);
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

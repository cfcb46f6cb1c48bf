// deno-fmt-ignore-file: the formatter drops `@inline`.
// Rows of x rounded to 8 bits, for dot products of bytes (byte_lines.ts, byte_panels.ts).
//
// Each block of 32 elements has a scale of its own. An element is off by 2^-8 of the block's largest one, at most. Products of a
// block are exact integers, sixteen to an instruction.
//
// The instruction takes signed bytes of x, and numbers of a weight that are moved by an offset to have no sign. A block's product
// begins with the sum of x's numbers times the offset, negative.
//
// Few rows stand one after the other, many rows four side by side: for each block 8 quads of neighbours of each row in turn, the
// scales of the four rows, and what their products begin with. The numbers are the same.
import { largest, wholeSums } from "./lanes";
import { largestOfEach, mostOf, quad, rounded } from "./packed";

/** Bytes of a block of x: 32 numbers, the scale, and what products begin with. */
export const byteBlock: usize = 40;

/** Bytes of a block of four rows. */
export const fourByteBlock: usize = 4 * byteBlock;

/** The largest number of 8 bits whose negative one has 8 bits, too. */
const mostOfByte: f32 = 127;

/** sum + the products of 16 signed bytes with 16 bytes, in four partial sums. */
@inline
export function dotBytes(sum: v128, x: v128, w: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w, sum);
  return unreachable();
}

/** One product of bytes, which no compiler knows. */
function productOf(x: i32, w: i32): i32 {
  const nothing = memory.size() >> 31;
  return i32x4.extract_lane(dotBytes(i32x4.splat(0), i8x16.splat(<i8> (x + nothing)), i8x16.splat(<i8> (w + nothing))), 0);
}

/**
 * How far numbers of 8 bits are moved to be the instruction's second operand: by 128 where the runtime takes a byte without sign,
 * by 0 where it takes a byte with its sign. -1 where it takes 7 bits alone, or there is no such instruction.
 */
export function offsetOfBytes(): i32 {
  if (!ASC_FEATURE_RELAXED_SIMD) return -1;
  if (productOf(127, 255) == 4 * 127 * 255 && productOf(-127, 255) == -4 * 127 * 255) return 128;
  return productOf(127, -128) == -4 * 127 * 128 && productOf(-127, -128) == 4 * 127 * 128 ? 0 : -1;
}

/** Where quad q of a block stands: in the order of numbers, or as the low halves of bytes and then the high ones have them. */
@inline
function quadAt(q: usize, inHalves: bool): usize {
  return inHalves ? ((q & 1) << 2) + (q >> 1) : q;
}

/** Rounds a row of x to blocks. */
function pack(x: usize, count: usize, inHalves: bool, offset: i32, to: usize): void {
  for (let begin: usize = 0; begin < count; begin += 32, to += byteBlock) {
    const scale = largest(mostOf(x, begin, count)) / mostOfByte;
    const inverse = f32x4.splat(scale > 0 ? 1 / scale : 0);
    let total = i32x4.splat(0);
    for (let q: usize = 0; q < 8; q++) {
      const v = rounded(quad(x, begin + 4 * q, count), inverse), pairs = i16x8.narrow_i32x4_s(v, v);
      total = i32x4.add(total, v);
      v128.store32_lane(to + (quadAt(q, inHalves) << 2), i8x16.narrow_i16x8_s(pairs, pairs), 0);
    }
    store<f32>(to, scale, 32);
    store<i32>(to, -offset * i32x4.extract_lane(wholeSums(total, total, total, total), 0), 36);
  }
}

/** Rounds four rows of x to blocks, side by side. */
function packFour(
  x0: usize,
  x1: usize,
  x2: usize,
  x3: usize,
  count: usize,
  inHalves: bool,
  offset: i32,
  to: usize,
): void {
  for (let begin: usize = 0; begin < count; begin += 32, to += fourByteBlock) {
    const most = largestOfEach(
      mostOf(x0, begin, count),
      mostOf(x1, begin, count),
      mostOf(x2, begin, count),
      mostOf(x3, begin, count),
    );
    const scale = f32x4.div(most, f32x4.splat(mostOfByte));
    const inverse = v128.and(f32x4.div(f32x4.splat(1), scale), f32x4.gt(scale, f32x4.splat(0)));
    const i = i32x4.shuffle(inverse, inverse, 0, 0, 0, 0), j = i32x4.shuffle(inverse, inverse, 1, 1, 1, 1);
    const k = i32x4.shuffle(inverse, inverse, 2, 2, 2, 2), l = i32x4.shuffle(inverse, inverse, 3, 3, 3, 3);
    let e = i32x4.splat(0), f = e, g = e, h = e;
    for (let q: usize = 0; q < 8; q++) {
      const from = begin + 4 * q;
      const a = rounded(quad(x0, from, count), i), b = rounded(quad(x1, from, count), j);
      const c = rounded(quad(x2, from, count), k), d = rounded(quad(x3, from, count), l);
      e = i32x4.add(e, a), f = i32x4.add(f, b), g = i32x4.add(g, c), h = i32x4.add(h, d);
      const ab = i16x8.narrow_i32x4_s(a, b), cd = i16x8.narrow_i32x4_s(c, d);
      v128.store(to + (quadAt(q, inHalves) << 4), i8x16.narrow_i16x8_s(ab, cd));
    }
    v128.store(to, scale, 128);
    v128.store(to, i32x4.mul(wholeSums(e, f, g, h), i32x4.splat(-offset)), 144);
  }
}

/** Rounds rows of x to blocks of bytes, for numbers of a weight that are moved by `offset`. An item is a row. */
export function byte_rows(
  x: usize,
  xStride: usize,
  packed: usize,
  inSize: usize,
  inHalves: bool,
  offset: i32,
  begin: usize,
  end: usize,
): void {
  const line = ((inSize + 31) >> 5) * byteBlock;
  for (let r = begin; r < end; r++) {
    pack(x + ((r * xStride) << 2), inSize, inHalves, offset, packed + r * line);
  }
}

/** The same to blocks of four rows. The last row stands for those that are not there. An item is four rows. */
export function byte_fours(
  x: usize,
  xStride: usize,
  packed: usize,
  rows: usize,
  inSize: usize,
  inHalves: bool,
  offset: i32,
  begin: usize,
  end: usize,
): void {
  const line = ((inSize + 31) >> 5) * fourByteBlock, stride = xStride << 2, last = x + (rows - 1) * stride;
  for (let n = begin; n < end; n++) {
    const x0 = x + (n << 2) * stride, x1 = min(x0 + stride, last), to = packed + n * line;
    packFour(x0, x1, min(x1 + stride, last), min(x1 + 2 * stride, last), inSize, inHalves, offset, to);
  }
}

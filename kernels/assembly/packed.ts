// Rows of x rounded to 16 bits, for products by weights in blocks (quantized.ts, blocks.ts).
//
// Each block of 32 elements has a scale of its own, so that products of a block are exact integers, eight to an instruction. An
// element is off by 2^-16 of the block's largest one.
import { largest, loadTail } from "./lanes";

/** Bytes of a block of x: 32 numbers of 16 bits, the scale, and 8 times their sum, negative; 0 in their plain order. */
export const blockBytes: usize = 72;

/** Rounds four elements to multiples of a scale. */
function rounded(v: v128, inverse: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v, inverse)));
}

/** Four elements of a row from element `at` on, zeros past its end. */
function quad(x: usize, at: usize, count: usize): v128 {
  if (at + 4 <= count) return v128.load(x + (at << 2));
  return at < count ? loadTail(x + (at << 2), count - at) : f32x4.splat(0);
}

/**
 * Orders of a block's numbers (kernels/formats/packed_x.ts): as they stand; as 8 bytes of 4 bits have them, twice, low halves
 * first; and as the fourths of 8 words of 16 bits, lowest first.
 */
const plainOrder: u32 = 0, halvesOrder: u32 = 1;

/** Stores quad q of a block, as numbers of 16 bits. */
function placeQuad(v: v128, q: usize, order: u32, to: usize): void {
  if (order == plainOrder) {
    v128.store64_lane(to + (q << 3), i16x8.narrow_i32x4_s(v, v), 0);
  } else if (order == halvesOrder) {
    const at = to + ((q >> 2) << 5) + ((q & 1) << 4) + (((q >> 1) & 1) << 3);
    v128.store64_lane(at, i16x8.narrow_i32x4_s(v, v), 0);
  } else {
    const pairs = i32x4.shuffle(v, v, 0, 2, 1, 3), at = to + ((q & 1) << 4) + ((q >> 1) << 2);
    v128.store32_lane(at, i16x8.narrow_i32x4_s(pairs, pairs), 0);
    v128.store32_lane(at + 32, i16x8.narrow_i32x4_s(pairs, pairs), 1);
  }
}

/** Rounds a row of x to blocks. */
function pack(x: usize, count: usize, order: u32, to: usize): void {
  for (let begin: usize = 0; begin < count; begin += 32, to += blockBytes) {
    let most = f32x4.splat(0);
    for (let q: usize = 0; q < 8; q++) most = f32x4.max(most, f32x4.abs(quad(x, begin + 4 * q, count)));
    const scale = largest(most) / 32767;
    const inverse = f32x4.splat(scale > 0 ? 1 / scale : 0);
    let total = i32x4.splat(0);
    for (let q: usize = 0; q < 8; q++) {
      const v = rounded(quad(x, begin + 4 * q, count), inverse);
      total = i32x4.add(total, v);
      placeQuad(v, q, order, to);
    }
    store<f32>(to, scale, 64);
    const sum = i32x4.extract_lane(total, 0) + i32x4.extract_lane(total, 1) + i32x4.extract_lane(total, 2) +
      i32x4.extract_lane(total, 3);
    store<i32>(to, order == plainOrder ? 0 : -8 * sum, 68);
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

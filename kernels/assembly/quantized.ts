// deno-fmt-ignore-file: the formatter drops `@inline`.
// y = or += x W^T (+ bias) by a weight in blocks of 32 numbers of 8 or 4 bits (see kernels/formats/q32/blocks.ts).
//
// x is rounded to 16 bits (packed.ts), where the weight is off by 2^-8 of its own; or to 8 bits (bytes.ts). Few rows meet the
// lines of the weight as they are stored; many rows meet panels. Sums are the same in the same order: a row's result does not
// depend on its company.
import { fourByteOutputs4, fourByteOutputs8 } from "./byte_lines";
import { byteGroupAt, bytePanelRows, byteScalesAt, placeBytes4, placeBytes8 } from "./byte_panels";
import { byteBlock } from "./bytes";
import { put } from "./linear";
import { blockBytes } from "./packed";
import { groupAt, panelRows, placePairs, placeWide, scalesAt } from "./panels";
import { fourOutputs4, fourOutputs8 } from "./quantized_lines";

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

/** Four numbers, of four places. */
@inline
function four(a: usize, b: usize, c: usize, d: usize): v128 {
  const ab = v128.load32_lane(b, v128.load32_zero(a), 1), cd = v128.load32_lane(d, v128.load32_zero(c), 1);
  return i64x2.shuffle(ab, cd, 0, 2);
}

/** Four bits of each 16, those `above` below the highest ones, as numbers from -8 to 7. */
@inline
function fourth(v: v128, above: i32): v128 {
  return i16x8.shr_s(above == 0 ? v : i16x8.shl(v, above), 12);
}

/** Scales of four lines, `line` bytes apart or the last of fewer, side by side. */
function placeScales(scales: usize, line: usize, count: usize, to: usize): void {
  const s1 = count > 1 ? scales + line : scales;
  const s2 = count > 2 ? s1 + line : scales, s3 = count > 3 ? s2 + line : scales;
  for (let i: usize = 0; i < line; i += 4, to += 16) {
    v128.store(to, four(scales + i, s1 + i, s2 + i, s3 + i));
  }
}

/** Whether x is in bytes: see `quantized_linear`. */
@inline
function inBytes(turned: i32): bool {
  return ASC_FEATURE_RELAXED_SIMD && turned >= 0;
}

/** A row of x times four lines of a weight, `stride` bytes apart. */
@inline
function fourOutputs(
  x: usize,
  words: usize,
  stride: usize,
  scales: usize,
  scaleStride: usize,
  blocks: usize,
  bits: u32,
  turned: i32,
): v128 {
  if (inBytes(turned)) {
    return bits == 8
      ? fourByteOutputs8(x, words, stride, scales, scaleStride, blocks, turned)
      : fourByteOutputs4(x, words, stride, scales, scaleStride, blocks, turned);
  }
  return bits == 8
    ? fourOutputs8(x, words, stride, scales, scaleStride, blocks)
    : fourOutputs4(x, words, stride, scales, scaleStride, blocks);
}

/** Four lines of a weight, `line` bytes apart or the last of fewer, as a group of a panel. */
function widenGroup(
  words: usize,
  scales: usize,
  blocks: usize,
  bits: u32,
  turned: i32,
  count: usize,
  group: usize,
  groupScales: usize,
): void {
  const line = blocks * (<usize> bits << 2);
  const w1 = count > 1 ? words + line : words, w2 = count > 2 ? w1 + line : words, w3 = count > 3 ? w2 + line : words;
  placeScales(scales, blocks << 2, count, groupScales);
  if (inBytes(turned)) {
    if (bits == 8) placeBytes8(words, w1, w2, w3, blocks, turned, group);
    else placeBytes4(words, w1, w2, w3, blocks, turned, group);
    return;
  }
  for (let i: usize = 0; i < blocks; i++) {
    const at = i * (<usize> bits << 2), to = group + (i << 9);
    const a = v128.load(words + at), b = v128.load(w1 + at), c = v128.load(w2 + at), d = v128.load(w3 + at);
    if (bits == 8) {
      placePairs(a, b, c, d, to);
      placePairs(
        v128.load(words + at, 16),
        v128.load(w1 + at, 16),
        v128.load(w2 + at, 16),
        v128.load(w3 + at, 16),
        to + 256,
      );
    } else {
      placeWide(fourth(a, 12), fourth(b, 12), fourth(c, 12), fourth(d, 12), to);
      placeWide(fourth(a, 8), fourth(b, 8), fourth(c, 8), fourth(d, 8), to + 128);
      placeWide(fourth(a, 4), fourth(b, 4), fourth(c, 4), fourth(d, 4), to + 256);
      placeWide(fourth(a, 0), fourth(b, 0), fourth(c, 0), fourth(d, 0), to + 384);
    }
  }
}

/** Outputs from `begin` to `end` of all packed rows, `groups` groups of four at a time. `yStride` is bytes. */
function manyRows(
  packed: usize,
  words: usize,
  scales: usize,
  bias: usize,
  y: usize,
  yStride: usize,
  panel: usize,
  groups: usize,
  rows: usize,
  blocks: usize,
  bits: u32,
  turned: i32,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  const line = blocks * (<usize> bits << 2), scaleLine = blocks << 2, bytes = inBytes(turned);
  for (let o = begin; o < end; o += groups << 2) {
    const count = min(end - o, groups << 2);
    for (let g: usize = 0; g < count; g += 4) {
      const w = words + (o + g) * line, s = scales + (o + g) * scaleLine;
      const at = bytes ? byteGroupAt(panel, g >> 2, blocks) : groupAt(panel, g >> 2, blocks, 16);
      const scalesTo = bytes ? byteScalesAt(panel, g >> 2, blocks) : scalesAt(panel, g >> 2, blocks, 16);
      widenGroup(w, s, blocks, bits, turned, count - g, at, scalesTo);
    }
    const at = o << 2, b = bias ? bias + at : 0;
    if (bytes) bytePanelRows(packed, panel, blocks, y + at, yStride, b, accumulate, rows, count);
    else panelRows(packed, panel, blocks, y + at, yStride, b, accumulate, rows, count, 1, false);
  }
}

/**
 * Rows of x times a weight (outSize, inSize) of 8 or 4 bits. `bias` is 0 for none. Of many rows `packed` has the rows
 * from `quantize_fours`, `panel` holds an even number of `groups`, of 272 bytes for each 32 elements, and an item is four outputs.
 * Of few `packed` has them from `quantize_rows`, `groups` is 0, and items are those of `linear`.
 *
 * `turned` is -1, or x is in bytes from `byte_fours` or `byte_rows`, and the bits of the weight's bytes are turned by `turned`
 * (byte_lines.ts). A panel then takes 144 bytes for each 32 elements.
 */
export function quantized_linear(
  packed: usize,
  words: usize,
  scales: usize,
  bias: usize,
  y: usize,
  yStride: usize,
  panel: usize,
  groups: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  bits: u32,
  turned: i32,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  const blocks = (inSize + 31) >> 5, width = blocks * (inBytes(turned) ? byteBlock : blockBytes);
  if (groups) {
    manyRows(
      packed,
      words,
      scales,
      bias,
      y,
      yStride << 2,
      panel,
      groups,
      rows,
      blocks,
      bits,
      turned,
      accumulate,
      begin << 2,
      min(end << 2, outSize),
    );
    return;
  }
  const line = blocks * (<usize> bits << 2), scaleLine = blocks << 2;
  const quarter = outSize >> 2, apart = quarter << 2;
  for (let o = begin; o < min(end, quarter); o++) {
    const w = words + o * line, s = scales + o * scaleLine, b = bias ? bias + (o << 2) : 0;
    for (let r: usize = 0; r < rows; r++) {
      const from = packed + r * width;
      const products = fourOutputs(from, w, quarter * line, s, quarter * scaleLine, blocks, bits, turned);
      put(y + ((r * yStride + o) << 2), apart, products, b, accumulate);
    }
  }
  // Up to three more, each as if it were four.
  for (let o = 3 * quarter + max(begin, quarter); o < 3 * quarter + end; o++) {
    const w = words + o * line, s = scales + o * scaleLine;
    for (let r: usize = 0; r < rows; r++) {
      const from = packed + r * width, at = y + ((r * yStride + o) << 2);
      const products = fourOutputs(from, w, 0, s, 0, blocks, bits, turned);
      let value = f32x4.extract_lane(products, 0);
      if (bias) value += load<f32>(bias + (o << 2));
      if (accumulate) value += load<f32>(at);
      store<f32>(at, value);
    }
  }
}

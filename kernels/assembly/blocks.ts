// deno-fmt-ignore-file: the formatter drops `@inline`.
// y = or += x W^T (+ bias) by a weight in blocks whose numbers need more than a scale (kernels/formats): q4z_32, nf4_32, q4_k
// and q6_k.
//
// A line of the weight is widened to whole numbers of 16 bits, and meets all rows of x, whose blocks of 32 are rounded to
// 16 bits as packed.ts says. So the products of half a block are exact integers. A row's result does not depend on its
// company.
import {
  add,
  firstNumbers,
  highBits,
  lastNumbers,
  nf4HighBytes,
  nf4LowBytes,
  put,
  sixBits,
  twoLinesNf4,
  twoLinesQ4k,
  twoLinesQ4z,
  twoLinesQ6k,
} from "./block_lines";
import { sum } from "./lanes";
import { blockBytes } from "./packed";

/** Formats, as kernels/formats/blocks_wasm.ts numbers them. */
const q4z: u32 = 0, nf4: u32 = 1, q4k: u32 = 2, q6k: u32 = 3;

/**
 * Bytes of a block of a widened line: 32 numbers of 16 bits in the order of x's blocks, scales of both halves, and what
 * each element is less.
 */
const wideBytes: usize = 80;

/** Stores sixteen unsigned numbers, low halves of bytes, then sixteen of the high ones. */
function storeHalves(to: usize, low: v128, high: v128): void {
  v128.store(to, i16x8.extend_low_i8x16_u(low));
  v128.store(to, i16x8.extend_high_i8x16_u(low), 16);
  v128.store(to, i16x8.extend_low_i8x16_u(high), 32);
  v128.store(to, i16x8.extend_high_i8x16_u(high), 48);
}

function storeScales(to: usize, first: f32, second: f32, less: f32): void {
  store<f32>(to, first, 64);
  store<f32>(to, second, 68);
  store<f32>(to, less, 72);
}

/** Sixteen bytes of 4 bits each, which are stored with the highest bit turned, as 0 to 15. */
function widenFour(words: usize, to: usize): void {
  const v = v128.xor(v128.load(words), i8x16.splat(-120)), mask = i8x16.splat(15);
  storeHalves(to, v128.and(v, mask), v128.and(i16x8.shr_u(v, 4), mask));
}

function widenQ4z(words: usize, scales: usize, blocks: usize, to: usize): void {
  for (let i: usize = 0; i < blocks; i++, to += wideBytes) {
    widenFour(words + (i << 4), to);
    const word = load<u32>(scales + (i << 2)), scale = reinterpret<f32>(word & ~0x1fff);
    storeScales(to, scale, scale, scale * <f32> (word & 0x1fff));
  }
}

function widenNf4(words: usize, scales: usize, blocks: usize, to: usize): void {
  const low = nf4LowBytes(), high = nf4HighBytes(), mask = i8x16.splat(15);
  for (let i: usize = 0; i < blocks; i++, to += wideBytes) {
    const v = v128.load(words + (i << 4));
    let at = v128.and(v, mask), p = i8x16.swizzle(low, at), q = i8x16.swizzle(high, at);
    v128.store(to, firstNumbers(p, q));
    v128.store(to, lastNumbers(p, q), 16);
    at = v128.and(i16x8.shr_u(v, 4), mask), p = i8x16.swizzle(low, at), q = i8x16.swizzle(high, at);
    v128.store(to, firstNumbers(p, q), 32);
    v128.store(to, lastNumbers(p, q), 48);
    const scale = load<f32>(scales + (i << 2)) / 16383;
    storeScales(to, scale, scale, 0);
  }
}

function widenQ4k(words: usize, scales: usize, blocks: usize, to: usize): void {
  for (let i: usize = 0; i < blocks; i++, to += wideBytes) {
    widenFour(words + (i << 4), to);
    const at = scales + (i >> 3) * 24, part = at + (i & 7);
    const scale = load<f32>(at) * <f32> load<u8>(part, 8);
    storeScales(to, scale, scale, load<f32>(at, 4) * <f32> load<u8>(part, 16));
  }
}

/** Of 32 numbers, 16 bytes have the low bits, and 8 bytes the high ones: see kernels/formats/q6_k.ts. */
function widenQ6k(words: usize, scales: usize, blocks: usize, to: usize): void {
  for (let i: usize = 0; i < blocks; i++, to += wideBytes) {
    const block = words + (i >> 3) * 192, k = i & 7, v = v128.load(block + (k << 4));
    const high = highBits(block + 128 + (k << 3));
    const even = sixBits(v, high), odd = sixBits(i16x8.shr_u(v, 4), i32x4.shr_u(high, 2));
    v128.store(to, i16x8.extend_low_i8x16_s(even));
    v128.store(to, i16x8.extend_high_i8x16_s(even), 16);
    v128.store(to, i16x8.extend_low_i8x16_s(odd), 32);
    v128.store(to, i16x8.extend_high_i8x16_s(odd), 48);
    const at = scales + (i >> 3) * 20, part = at + (k << 1), scale = load<f32>(at);
    storeScales(to, scale * <f32> load<i8>(part, 4), scale * <f32> load<i8>(part, 5), 0);
  }
}

/** The bytes of a line's words, and of its scales. */
function lineBytes(kind: u32, inSize: usize, isScales: bool): usize {
  const blocks = (inSize + 31) >> 5, bigBlocks = (inSize + 255) >> 8;
  if (kind == q4k) return bigBlocks * (isScales ? 24 : 128);
  if (kind == q6k) return bigBlocks * (isScales ? 20 : 192);
  return blocks * (isScales ? 4 : 16);
}

function widenLine(kind: u32, words: usize, scales: usize, blocks: usize, to: usize): void {
  if (kind == q4z) widenQ4z(words, scales, blocks, to);
  else if (kind == nf4) widenNf4(words, scales, blocks, to);
  else if (kind == q4k) widenQ4k(words, scales, blocks, to);
  else widenQ6k(words, scales, blocks, to);
}

/** Three packed rows of x, `packed` bytes apart, times a widened line. */
function threeRows(
  x: usize,
  packed: usize,
  w: usize,
  blocks: usize,
  y: usize,
  yStride: usize,
  bias: usize,
  accumulate: bool,
): void {
  let a = f32x4.splat(0), b = a, c = a, x1 = x + packed, x2 = x1 + packed;
  for (let i: usize = 0; i < blocks; i++, w += wideBytes) {
    const p = v128.load(w), q = v128.load(w, 16), r = v128.load(w, 32), s = v128.load(w, 48);
    const by = v128.load32_splat(w, 64), second = v128.load32_splat(w, 68), less = v128.load32_splat(w, 72);
    a = add(a, x, p, q, r, s, by, second, less);
    b = add(b, x1, p, q, r, s, by, second, less);
    c = add(c, x2, p, q, r, s, by, second, less);
    x += blockBytes, x1 += blockBytes, x2 += blockBytes;
  }
  put(y, sum(a), bias, accumulate);
  put(y + yStride, sum(b), bias, accumulate);
  put(y + 2 * yStride, sum(c), bias, accumulate);
}

function oneRow(x: usize, w: usize, blocks: usize, y: usize, bias: usize, accumulate: bool): void {
  let a = f32x4.splat(0);
  for (let i: usize = 0; i < blocks; i++, w += wideBytes, x += blockBytes) {
    const by = v128.load32_splat(w, 64), second = v128.load32_splat(w, 68), less = v128.load32_splat(w, 72);
    a = add(a, x, v128.load(w), v128.load(w, 16), v128.load(w, 32), v128.load(w, 48), by, second, less);
  }
  put(y, sum(a), bias, accumulate);
}

/** One line, which is widened first, times all packed rows. */
function oneLine(
  packed: usize,
  words: usize,
  scales: usize,
  bias: usize,
  y: usize,
  apart: usize,
  wide: usize,
  rows: usize,
  blocks: usize,
  kind: u32,
  accumulate: bool,
): void {
  const width = blocks * blockBytes;
  widenLine(kind, words, scales, blocks, wide);
  let r: usize = 0;
  for (; r + 3 <= rows; r += 3) {
    threeRows(packed + r * width, width, wide, blocks, y + r * apart, apart, bias, accumulate);
  }
  for (; r < rows; r++) oneRow(packed + r * width, wide, blocks, y + r * apart, bias, accumulate);
}

/**
 * Rows of x times a weight (outSize, inSize) of a format. `packed` has the rows from `quantize_rows` as for 4 bits; `bias` is
 * 0 for none. `wide` holds 80 bytes for each 32 elements of a row. An item is an output; of one row, for which lines need not
 * be widened, it is two outputs half of them apart, and the last where they are odd.
 */
export function blocks_linear(
  packed: usize,
  words: usize,
  scales: usize,
  bias: usize,
  y: usize,
  yStride: usize,
  wide: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  kind: u32,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  const blocks = (inSize + 31) >> 5, apart = yStride << 2;
  const wordsLine = lineBytes(kind, inSize, false), scalesLine = lineBytes(kind, inSize, true);
  const half = rows == 1 ? outSize >> 1 : 0;
  const wordsApart = half * wordsLine, scalesApart = half * scalesLine;
  for (let o = begin; o < min(end, half); o++) {
    const w = words + o * wordsLine, s = scales + o * scalesLine, b = bias ? bias + (o << 2) : 0;
    const to = y + (o << 2);
    if (kind == q4z) {
      twoLinesQ4z(packed, w, wordsApart, s, scalesApart, blocks, to, half << 2, b, accumulate);
    } else if (kind == q4k) {
      twoLinesQ4k(packed, w, wordsApart, s, scalesApart, blocks, to, half << 2, b, accumulate);
    } else if (kind == nf4) {
      twoLinesNf4(packed, w, wordsApart, s, scalesApart, blocks, to, half << 2, b, accumulate);
    } else {
      twoLinesQ6k(packed, w, wordsApart, s, scalesApart, blocks, to, half << 2, b, accumulate);
    }
  }
  for (let o = half + max(begin, half); o < half + end; o++) {
    const w = words + o * wordsLine, s = scales + o * scalesLine, b = bias ? bias + (o << 2) : 0;
    oneLine(packed, w, s, b, y + (o << 2), apart, wide, rows, blocks, kind, accumulate);
  }
}

// deno-fmt-ignore-file: the formatter drops `@inline`.
// Products of four rows of x in bytes (bytes.ts) by panels: pairs of groups of four outputs, whose numbers are bytes and stand side
// by side. Each lane of a sum is an output, as in panels.ts.
//
// A pair has 256 bytes for each block: 8 quads of neighbours, in the order of x's blocks, of the four outputs of each group in
// turn. Behind all numbers stand the scales of the first group, and then those of the second; 16 bytes for each block.
import { dotBytes, fourByteBlock } from "./bytes";
import { pair, placeWide, putPair, scaled } from "./panels";
import { lowBitsOfBytes } from "./quantized_lines";

/** Bytes of a block's numbers in a pair of groups, and of a group's scales. */
const numberBytes: usize = 256, scaleBytes: usize = 16;

/** Bytes from four outputs' neighbours to the next ones. */
const step: usize = 32;

/** Where a group of a panel has its numbers. */
@inline
export function byteGroupAt(panel: usize, index: usize, blocks: usize): usize {
  return panel + (index >> 1) * blocks * (numberBytes + 2 * scaleBytes) + ((index & 1) << 4);
}

/** Where it has its scales. */
@inline
export function byteScalesAt(panel: usize, index: usize, blocks: usize): usize {
  return byteGroupAt(panel, index & ~1, blocks) + blocks * (numberBytes + (index & 1) * scaleBytes);
}

/** A block of four lines, whose numbers are `a` to `d`, of a group. See byte_lines.ts for `turned`. */
@inline
function turnedWide(a: v128, b: v128, c: v128, d: v128, turned: v128, to: usize): void {
  placeWide(v128.xor(a, turned), v128.xor(b, turned), v128.xor(c, turned), v128.xor(d, turned), to);
}

/** Four lines of 8 bits, as a group of a panel. */
export function placeBytes8(w0: usize, w1: usize, w2: usize, w3: usize, blocks: usize, turned: i32, to: usize): void {
  const turn = i8x16.splat(<i8> turned);
  for (let at: usize = 0; at < blocks << 5; at += 16, to += 128) {
    turnedWide(v128.load(w0 + at), v128.load(w1 + at), v128.load(w2 + at), v128.load(w3 + at), turn, to);
  }
}

/** The same of 4 bits. */
export function placeBytes4(w0: usize, w1: usize, w2: usize, w3: usize, blocks: usize, turned: i32, to: usize): void {
  const turn = i8x16.splat(<i8> turned), mask = lowBitsOfBytes(w0);
  for (let at: usize = 0; at < blocks << 4; at += 16, to += 256) {
    const a = v128.xor(v128.load(w0 + at), turn), b = v128.xor(v128.load(w1 + at), turn);
    const c = v128.xor(v128.load(w2 + at), turn), d = v128.xor(v128.load(w3 + at), turn);
    placeWide(v128.and(a, mask), v128.and(b, mask), v128.and(c, mask), v128.and(d, mask), to);
    const e = v128.and(i16x8.shr_u(a, 4), mask), f = v128.and(i16x8.shr_u(b, 4), mask);
    placeWide(e, f, v128.and(i16x8.shr_u(c, 4), mask), v128.and(i16x8.shr_u(d, 4), mask), to + 128);
  }
}

/** Four rows of x times a pair of groups: `rows` of them, and `count` outputs, are stored. */
function tile(
  x: usize,
  w: usize,
  blocks: usize,
  y: usize,
  yStride: usize,
  bias: usize,
  accumulate: bool,
  rows: usize,
  count: usize,
): void {
  const apart = blocks * scaleBytes, last = w + blocks * numberBytes;
  let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
  for (let scales = last; w < last; scales += scaleBytes, x += 32) {
    let v = v128.load(x, 144);
    let i = pair(v, 0), j = i, k = pair(v, 1), l = k, m = pair(v, 2), o = m, p = pair(v, 3), q = p;
    for (const end = x + 128; x < end; x += 16, w += step) {
      const v = v128.load(x), r = v128.load(w), s = v128.load(w, 16);
      let t = pair(v, 0);
      i = dotBytes(i, t, r), j = dotBytes(j, t, s), t = pair(v, 1);
      k = dotBytes(k, t, r), l = dotBytes(l, t, s), t = pair(v, 2);
      m = dotBytes(m, t, r), o = dotBytes(o, t, s), t = pair(v, 3);
      p = dotBytes(p, t, r), q = dotBytes(q, t, s);
    }
    const r = v128.load(scales), s = v128.load(scales + apart);
    v = v128.load(x);
    let t = pair(v, 0);
    a = scaled(a, i, t, r), b = scaled(b, j, t, s), t = pair(v, 1);
    c = scaled(c, k, t, r), d = scaled(d, l, t, s), t = pair(v, 2);
    e = scaled(e, m, t, r), f = scaled(f, o, t, s), t = pair(v, 3);
    g = scaled(g, p, t, r), h = scaled(h, q, t, s);
  }
  putPair(y, a, b, bias, accumulate, count);
  if (rows > 1) putPair(y + yStride, c, d, bias, accumulate, count);
  if (rows > 2) putPair(y + 2 * yStride, e, f, bias, accumulate, count);
  if (rows > 3) putPair(y + 3 * yStride, g, h, bias, accumulate, count);
}

/** All rows of x, four side by side, times the groups of a panel, which have `count` outputs. `yStride` is bytes. */
export function bytePanelRows(
  packed: usize,
  panel: usize,
  blocks: usize,
  y: usize,
  yStride: usize,
  bias: usize,
  accumulate: bool,
  rows: usize,
  count: usize,
): void {
  const width = blocks * fourByteBlock, pairBytes = byteGroupAt(0, 2, blocks);
  for (let r: usize = 0; r < rows; r += 4, packed += width, y += yStride << 2) {
    for (let o: usize = 0, w = panel; o < count; o += 8, w += pairBytes) {
      const at = o << 2, b = bias ? bias + at : 0;
      tile(packed, w, blocks, y + at, yStride, b, accumulate, rows - r, count - o);
    }
  }
}

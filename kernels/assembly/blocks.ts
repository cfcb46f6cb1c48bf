// y = or += x W^T (+ bias) by a weight in blocks whose numbers need more than a scale (kernels/formats): q4z_32, nf4_32, q4_k
// and q6_k.
//
// x is rounded to 16 bits (packed.ts). Few rows meet the lines of the weight as they are stored; many rows meet panels. Sums
// are the same in the same order: a row's result does not depend on its company.
import { fourLinesQ4, fourLinesQ6, placeQ4, placeQ6 } from "./block_lines";
import { groupScales, halvesOf, hasLess, lineBytes, nf4, q6k, scaleBytes } from "./block_scales";
import { put } from "./linear";
import { fourLinesNf4, fourWideLines, nf4Table, widenNf4 } from "./nf4";
import { blockBytes } from "./packed";
import { groupAt, panelRows, scalesAt } from "./panels";

/** Up to four lines of a weight as a group of a panel. */
function widenGroup(
  kind: u32,
  words: usize,
  scales: usize,
  inSize: usize,
  count: usize,
  group: usize,
  scalesTo: usize,
  x: usize,
): void {
  const blocks = (inSize + 31) >> 5, line = lineBytes(kind, inSize, false);
  const w1 = count > 1 ? words + line : words,
    w2 = count > 2 ? w1 + line : words,
    w3 = count > 3 ? w2 + line : words;
  if (kind == q6k) placeQ6(words, w1, w2, w3, blocks, group, x);
  else placeQ4(words, w1, w2, w3, blocks, group, x);
  groupScales(kind, scales, lineBytes(kind, inSize, true), blocks, count, scalesTo);
}

/** Four lines, `apart` bytes from one to the next, times a packed row; those of NF4 are widened at `wide`, or it is 0. */
function fourLines(
  kind: u32,
  x: usize,
  words: usize,
  apart: usize,
  scales: usize,
  blocks: usize,
  table: usize,
  wide: usize,
): v128 {
  if (wide) return fourWideLines(x, wide, scales, blocks);
  if (kind == nf4) return fourLinesNf4(x, words, apart, scales, blocks, table);
  if (kind == q6k) return fourLinesQ6(x, words, apart, scales, blocks);
  return fourLinesQ4(x, words, apart, scales, blocks);
}

/** Outputs from `begin` to `end` of many packed rows, by panels of `groups` groups. */
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
  inSize: usize,
  kind: u32,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  const blocks = (inSize + 31) >> 5, bytes = scaleBytes(kind);
  const wordsLine = lineBytes(kind, inSize, false), scalesLine = lineBytes(kind, inSize, true);
  for (let o = begin; o < end; o += groups << 2) {
    const count = min(end - o, groups << 2), at = o << 2, b = bias ? bias + at : 0;
    for (let g: usize = 0; g < count; g += 4) {
      const w = words + (o + g) * wordsLine, s = scales + (o + g) * scalesLine;
      const at = groupAt(panel, g >> 2, blocks, bytes), scalesTo = scalesAt(panel, g >> 2, blocks, bytes);
      widenGroup(kind, w, s, inSize, count - g, at, scalesTo, packed);
    }
    const halves = halvesOf(kind), less = hasLess(kind);
    panelRows(packed, panel, blocks, y + at, yStride, b, accumulate, rows, count, halves, less);
  }
}

/**
 * Rows of x times a weight (outSize, inSize) of a format. `bias` is 0 for none. Of many rows `packed` has the rows from
 * `quantize_fours`, and `wide` holds an even number of `groups` of a panel, of 288 bytes for each 32 elements. Of few, and of any
 * rows of NF4, `packed` has the rows from `quantize_rows`, `groups` is 0, and `wide` holds 32 bytes, 32 for each 32 elements, and of four rows of NF4 or more 256 of these.
 * Items are those of `quantized_linear`.
 */
export function blocks_linear(
  packed: usize,
  words: usize,
  scales: usize,
  bias: usize,
  y: usize,
  yStride: usize,
  wide: usize,
  groups: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  kind: u32,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  const blocks = (inSize + 31) >> 5, width = blocks * blockBytes, row = yStride << 2;
  if (groups) {
    const to = min(end << 2, outSize);
    manyRows(
      packed,
      words,
      scales,
      bias,
      y,
      row,
      wide,
      groups,
      rows,
      inSize,
      kind,
      accumulate,
      begin << 2,
      to,
    );
    return;
  }
  const wordsLine = lineBytes(kind, inSize, false), scalesLine = lineBytes(kind, inSize, true);
  const quarter = outSize >> 2, apart = quarter << 2, own = wide + 32;
  const numbers = kind == nf4 && rows > 3 ? own + (blocks << 4) : 0;
  if (kind == nf4) nf4Table(wide);
  for (let o = begin; o < min(end, quarter); o++) {
    const w = words + o * wordsLine, b = bias ? bias + (o << 2) : 0;
    groupScales(kind, scales + o * scalesLine, quarter * scalesLine, blocks, 4, own);
    if (numbers) widenNf4(w, quarter * wordsLine, blocks, wide, numbers);
    for (let r: usize = 0; r < rows; r++) {
      const x = packed + r * width;
      const products = fourLines(kind, x, w, quarter * wordsLine, own, blocks, wide, numbers);
      put(y + r * row + (o << 2), apart, products, b, accumulate);
    }
  }
  // Up to three more, each as if it were four.
  for (let o = 3 * quarter + max(begin, quarter); o < 3 * quarter + end; o++) {
    groupScales(kind, scales + o * scalesLine, 0, blocks, 1, own);
    for (let r: usize = 0; r < rows; r++) {
      const at = y + r * row + (o << 2);
      const products = fourLines(kind, packed + r * width, words + o * wordsLine, 0, own, blocks, wide, 0);
      let value = f32x4.extract_lane(products, 0);
      if (bias) value += load<f32>(bias + (o << 2));
      if (accumulate) value += load<f32>(at);
      store<f32>(at, value);
    }
  }
}

// Products of many rows: tiles of three rows of x and three lines of a weight, whose nine sums stay in registers. More
// sums would not fit the 16 registers of x86.
//
// Sums run along the lines, four partial sums of each output side by side in a vector, as in linear.ts: a row's result does
// not depend on how many rows there are. Strides are bytes here.
import { four, tail } from "./bfloat16";
import { loadTail, multiplyAdd, sums } from "./lanes";

/** Bytes of lines that meet all rows of x before the next lines do: they stay in the second cache. */
const panelBytes: usize = 96 << 10;

/** Stores three outputs of a row, or the first alone, `apart` bytes from one to the next. */
export function put(
  y: usize,
  apart: usize,
  products: v128,
  bias: usize,
  factor: f32,
  accumulate: bool,
  outputs: usize,
): void {
  products = f32x4.mul(products, f32x4.splat(factor));
  if (bias) products = f32x4.add(products, gather(bias, apart, outputs));
  if (accumulate) products = f32x4.add(products, gather(y, apart, outputs));
  v128.store32_lane(y, products, 0);
  if (outputs == 1) return;
  v128.store32_lane(y + apart, products, 1);
  v128.store32_lane(y + 2 * apart, products, 2);
}

/** Three numbers, or one, `apart` bytes from one to the next. */
function gather(from: usize, apart: usize, count: usize): v128 {
  const v = v128.load32_zero(from);
  if (count == 1) return v;
  return v128.load32_lane(from + 2 * apart, v128.load32_lane(from + apart, v, 1), 2);
}

/** Up to three rows of x times three lines of the weight, or one; rows that are not there are computed and left. */
function tile<T>(
  x: usize,
  xStride: usize,
  w: usize,
  wStride: usize,
  count: usize,
  y: usize,
  yStride: usize,
  apart: usize,
  bias: usize,
  factor: f32,
  accumulate: bool,
  rows: usize,
  outputs: usize,
): void {
  const x1 = rows > 1 ? x + xStride : x, x2 = rows > 2 ? x1 + xStride : x1;
  const w1 = w + wStride, w2 = w1 + wStride;
  let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a;
  const end = (count & ~3) << 2, rest = count & 3, shift: usize = sizeof<T>() == 4 ? 0 : 1;
  for (let k: usize = 0; k < end; k += 16) {
    const u = v128.load(x + k), v = v128.load(x1 + k), t = v128.load(x2 + k), at = k >> shift;
    const p = four<T>(w + at);
    a = multiplyAdd(a, u, p);
    b = multiplyAdd(b, v, p);
    c = multiplyAdd(c, t, p);
    const q = four<T>(w1 + at);
    d = multiplyAdd(d, u, q);
    e = multiplyAdd(e, v, q);
    f = multiplyAdd(f, t, q);
    const r = four<T>(w2 + at);
    g = multiplyAdd(g, u, r);
    h = multiplyAdd(h, v, r);
    i = multiplyAdd(i, t, r);
  }
  if (rest) {
    const u = loadTail(x + end, rest), v = loadTail(x1 + end, rest), t = loadTail(x2 + end, rest);
    const at = end >> shift;
    const p = tail<T>(w + at, rest), q = tail<T>(w1 + at, rest), r = tail<T>(w2 + at, rest);
    a = multiplyAdd(a, u, p);
    b = multiplyAdd(b, v, p);
    c = multiplyAdd(c, t, p);
    d = multiplyAdd(d, u, q);
    e = multiplyAdd(e, v, q);
    f = multiplyAdd(f, t, q);
    g = multiplyAdd(g, u, r);
    h = multiplyAdd(h, v, r);
    i = multiplyAdd(i, t, r);
  }
  put(y, apart, sums(a, d, g, g), bias, factor, accumulate, outputs);
  if (rows > 1) put(y + yStride, apart, sums(b, e, h, h), bias, factor, accumulate, outputs);
  if (rows > 2) put(y + 2 * yStride, apart, sums(c, f, i, i), bias, factor, accumulate, outputs);
}

/**
 * All rows of x times `lines` lines of the weight, `line` bytes from one to the next, with `outputs` 3 also those
 * `wStride` and twice `wStride` bytes on, whose outputs are `apart` and twice `apart` bytes on.
 */
function panel<T>(
  x: usize,
  xStride: usize,
  rows: usize,
  w: usize,
  line: usize,
  lines: usize,
  wStride: usize,
  count: usize,
  y: usize,
  yStride: usize,
  apart: usize,
  bias: usize,
  factor: f32,
  accumulate: bool,
  outputs: usize,
): void {
  for (let r: usize = 0; r < rows; r += 3) {
    const from = x + r * xStride, to = y + r * yStride, held = min(rows - r, <usize> 3);
    for (let o: usize = 0; o < lines; o++) {
      const b = bias ? bias + (o << 2) : 0;
      tile<T>(
        from,
        xStride,
        w + o * line,
        wStride,
        count,
        to + (o << 2),
        yStride,
        apart,
        b,
        factor,
        accumulate,
        held,
        outputs,
      );
    }
  }
}

/**
 * y (rows, outs) = or += factor x (rows, count) weight (outs, count)^T + bias. `bits` of the weight are 32, or 16 for
 * bfloat16.
 */
export function product(
  x: usize,
  xStride: usize,
  weight: usize,
  line: usize,
  bits: u32,
  bias: usize,
  y: usize,
  yStride: usize,
  rows: usize,
  count: usize,
  outs: usize,
  factor: f32,
  accumulate: bool,
): void {
  const all = outs / 3 + outs % 3;
  lines(x, xStride, weight, line, bits, bias, y, yStride, rows, count, outs, factor, accumulate, 0, all);
}

/**
 * A part of a product: lines from `begin` to `end`. The first lines are triples, three outputs that lie a third of the weight
 * apart: three long streams, which the hardware fetches ahead. The others are the one or two outputs left.
 */
export function lines(
  x: usize,
  xStride: usize,
  weight: usize,
  line: usize,
  bits: u32,
  bias: usize,
  y: usize,
  yStride: usize,
  rows: usize,
  count: usize,
  outs: usize,
  factor: f32,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  if (bits == 32) {
    linesOf<f32>(
      x,
      xStride,
      weight,
      line,
      bias,
      y,
      yStride,
      rows,
      count,
      outs,
      factor,
      accumulate,
      begin,
      end,
    );
  } else {
    linesOf<u16>(
      x,
      xStride,
      weight,
      line,
      bias,
      y,
      yStride,
      rows,
      count,
      outs,
      factor,
      accumulate,
      begin,
      end,
    );
  }
}

function linesOf<T>(
  x: usize,
  xStride: usize,
  weight: usize,
  line: usize,
  bias: usize,
  y: usize,
  yStride: usize,
  rows: usize,
  count: usize,
  outs: usize,
  factor: f32,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  const third = outs / 3, apart = third << 2, most = max(1, min(16, panelBytes / (3 * sizeof<T>() * count)));
  const stop = min(end, third);
  for (let o = begin; o < stop; o += most) {
    const w = weight + o * line, b = bias ? bias + (o << 2) : 0, held = min(most, stop - o);
    const to = y + (o << 2);
    panel<T>(
      x,
      xStride,
      rows,
      w,
      line,
      held,
      third * line,
      count,
      to,
      yStride,
      apart,
      b,
      factor,
      accumulate,
      3,
    );
  }
  const single = max(begin, third);
  if (single >= end) return;
  const done: usize = 2 * third + single,
    w = weight + done * line,
    b = bias ? bias + (done << 2) : 0,
    to = y + (done << 2);
  panel<T>(x, xStride, rows, w, line, end - single, 0, count, to, yStride, 0, b, factor, accumulate, 1);
}

/**
 * y (rows, lines) = or += factor x (rows, count) times lines that stand one after the other, all few enough for the second
 * cache.
 */
export function panelProduct(
  x: usize,
  xStride: usize,
  rows: usize,
  w: usize,
  line: usize,
  count: usize,
  lines: usize,
  y: usize,
  yStride: usize,
  factor: f32,
  accumulate: bool,
): void {
  const third = lines / 3, apart = third << 2, done: usize = 3 * third;
  panel<f32>(
    x,
    xStride,
    rows,
    w,
    line,
    third,
    third * line,
    count,
    y,
    yStride,
    apart,
    0,
    factor,
    accumulate,
    3,
  );
  const rest = w + done * line, to = y + (done << 2);
  panel<f32>(x, xStride, rows, rest, line, lines - done, 0, count, to, yStride, 0, 0, factor, accumulate, 1);
}

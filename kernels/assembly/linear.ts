// y = or += x W^T (+ bias), float32, by a weight of float32 or bfloat16.
//
// Sums run along the inputs, partial sums of each output side by side in a vector. Of few rows of x four outputs are made at
// a time, for memory is the bound; many rows are the matter of tiles.ts. All add up in one order, so that a row's result does
// not depend on its company. The four lie a quarter of the weight apart: four long streams, which the hardware fetches ahead.
// Four neighbouring rows are met anew each time, at a third of the speed once the weight is larger than the cache.
import { first, four, second, tail } from "./bfloat16";
import { loadTail, multiplyAdd, sum, sums } from "./lanes";
import { lines } from "./tiles";

/** The products of one row of x with four rows of the weight, `stride` bytes apart. */
function fourOutputs<T>(x: usize, w0: usize, stride: usize, count: usize): v128 {
  const w1 = w0 + stride, w2 = w1 + stride, w3 = w2 + stride, step = sizeof<T>() << 3;
  let a = f32x4.splat(0), b = a, c = a, d = a;
  let i: usize = 0;
  for (const end = (count >> 3) * step; i < end; i += step, x += 32) {
    const u = v128.load(x), v = v128.load(x, 16);
    const p = v128.load(w0 + i), q = v128.load(w1 + i), r = v128.load(w2 + i), s = v128.load(w3 + i);
    a = multiplyAdd(multiplyAdd(a, u, first<T>(p)), v, second<T>(p, w0 + i));
    b = multiplyAdd(multiplyAdd(b, u, first<T>(q)), v, second<T>(q, w1 + i));
    c = multiplyAdd(multiplyAdd(c, u, first<T>(r)), v, second<T>(r, w2 + i));
    d = multiplyAdd(multiplyAdd(d, u, first<T>(s)), v, second<T>(s, w3 + i));
  }
  if (count & 4) {
    const u = v128.load(x);
    a = multiplyAdd(a, u, four<T>(w0 + i));
    b = multiplyAdd(b, u, four<T>(w1 + i));
    c = multiplyAdd(c, u, four<T>(w2 + i));
    d = multiplyAdd(d, u, four<T>(w3 + i));
    i += step >> 1;
    x += 16;
  }
  const rest = count & 3;
  if (rest) {
    const u = loadTail(x, rest);
    a = multiplyAdd(a, u, tail<T>(w0 + i, rest));
    b = multiplyAdd(b, u, tail<T>(w1 + i, rest));
    c = multiplyAdd(c, u, tail<T>(w2 + i, rest));
    d = multiplyAdd(d, u, tail<T>(w3 + i, rest));
  }
  return sums(a, b, c, d);
}

/** Stores four outputs, `apart` bytes from one to the next; adds the bias and what y holds where asked for. */
export function put(y: usize, apart: usize, products: v128, bias: usize, accumulate: bool): void {
  const y1 = y + apart, y2 = y1 + apart, y3 = y2 + apart;
  if (bias) products = f32x4.add(products, gather(bias, apart));
  if (accumulate) products = f32x4.add(products, gather(y, apart));
  v128.store32_lane(y, products, 0);
  v128.store32_lane(y1, products, 1);
  v128.store32_lane(y2, products, 2);
  v128.store32_lane(y3, products, 3);
}

/** Four numbers, `apart` bytes from one to the next. */
function gather(from: usize, apart: usize): v128 {
  let v = v128.load32_zero(from);
  v = v128.load32_lane(from + apart, v, 1);
  v = v128.load32_lane(from + 2 * apart, v, 2);
  return v128.load32_lane(from + 3 * apart, v, 3);
}

/** Four outputs of two rows of x, `xStride` bytes apart. */
function fourOutputsTwoRows<T>(
  x: usize,
  xStride: usize,
  w0: usize,
  stride: usize,
  count: usize,
  y: usize,
  yStride: usize,
  apart: usize,
  bias: usize,
  accumulate: bool,
): void {
  const w1 = w0 + stride, w2 = w1 + stride, w3 = w2 + stride, step = sizeof<T>() << 3;
  let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
  let i: usize = 0, x1 = x + xStride;
  for (const end = (count >> 3) * step; i < end; i += step, x += 32, x1 += 32) {
    const u = v128.load(x), v = v128.load(x1), s = v128.load(x, 16), t = v128.load(x1, 16);
    let p = v128.load(w0 + i), q = first<T>(p);
    a = multiplyAdd(a, u, q), e = multiplyAdd(e, v, q), q = second<T>(p, w0 + i);
    a = multiplyAdd(a, s, q), e = multiplyAdd(e, t, q), p = v128.load(w1 + i), q = first<T>(p);
    b = multiplyAdd(b, u, q), f = multiplyAdd(f, v, q), q = second<T>(p, w1 + i);
    b = multiplyAdd(b, s, q), f = multiplyAdd(f, t, q), p = v128.load(w2 + i), q = first<T>(p);
    c = multiplyAdd(c, u, q), g = multiplyAdd(g, v, q), q = second<T>(p, w2 + i);
    c = multiplyAdd(c, s, q), g = multiplyAdd(g, t, q), p = v128.load(w3 + i), q = first<T>(p);
    d = multiplyAdd(d, u, q), h = multiplyAdd(h, v, q), q = second<T>(p, w3 + i);
    d = multiplyAdd(d, s, q), h = multiplyAdd(h, t, q);
  }
  if (count & 4) {
    const u = v128.load(x), v = v128.load(x1);
    const p = four<T>(w0 + i), q = four<T>(w1 + i), r = four<T>(w2 + i), s = four<T>(w3 + i);
    a = multiplyAdd(a, u, p);
    b = multiplyAdd(b, u, q);
    c = multiplyAdd(c, u, r);
    d = multiplyAdd(d, u, s);
    e = multiplyAdd(e, v, p);
    f = multiplyAdd(f, v, q);
    g = multiplyAdd(g, v, r);
    h = multiplyAdd(h, v, s);
    i += step >> 1;
    x += 16;
    x1 += 16;
  }
  const rest = count & 3;
  if (rest) {
    const u = loadTail(x, rest), v = loadTail(x1, rest);
    const p = tail<T>(w0 + i, rest), q = tail<T>(w1 + i, rest);
    const r = tail<T>(w2 + i, rest), s = tail<T>(w3 + i, rest);
    a = multiplyAdd(a, u, p);
    b = multiplyAdd(b, u, q);
    c = multiplyAdd(c, u, r);
    d = multiplyAdd(d, u, s);
    e = multiplyAdd(e, v, p);
    f = multiplyAdd(f, v, q);
    g = multiplyAdd(g, v, r);
    h = multiplyAdd(h, v, s);
  }
  put(y, apart, sums(a, b, c, d), bias, accumulate);
  put(y + yStride, apart, sums(e, f, g, h), bias, accumulate);
}

/** The product of one row of x with one of the weight. */
export function dot<T>(x: usize, w: usize, count: usize): f32 {
  let a = f32x4.splat(0);
  for (const end = x + ((count & ~3) << 2); x < end; x += 16, w += sizeof<T>() << 2) {
    a = multiplyAdd(a, v128.load(x), four<T>(w));
  }
  const rest = count & 3;
  if (rest) a = multiplyAdd(a, loadTail(x, rest), tail<T>(w, rest));
  return sum(a);
}

/** All of a product; see `linear`. */
export function wholeLinear(
  x: usize,
  xStride: usize,
  weight: usize,
  weightStride: usize,
  y: usize,
  yStride: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  accumulate: bool,
): void {
  const all = inTiles(rows) ? outSize / 3 + outSize % 3 : (outSize >> 2) + (outSize & 3);
  linear(x, xStride, weight, weightStride, 32, 0, y, yStride, rows, inSize, outSize, accumulate, 0, all);
}

/** Whether tiles are faster. Four rows are two pairs: as tiles they would cost as much as six. */
function inTiles(rows: usize): bool {
  return rows > 2 && rows != 4;
}

/**
 * Rows of x (rows, inSize) times weight (outSize, inSize) to y (rows, outSize). Strides are elements from row to row;
 * `bits` of the weight are 32, or 16 for bfloat16; `bias` is 0 for none.
 *
 * An item is outputs: in tiles lines as tiles.ts counts them, else quadruples a quarter of the weight apart, and then the up to
 * three outputs left.
 */
export function linear(
  x: usize,
  xStride: usize,
  weight: usize,
  weightStride: usize,
  bits: u32,
  bias: usize,
  y: usize,
  yStride: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  const stride = weightStride * (bits >> 3);
  xStride <<= 2;
  yStride <<= 2;
  if (inTiles(rows)) {
    lines(
      x,
      xStride,
      weight,
      stride,
      bits,
      bias,
      y,
      yStride,
      rows,
      inSize,
      outSize,
      1,
      accumulate,
      begin,
      end,
    );
  } else if (bits == 32) {
    fewRows<f32>(x, xStride, weight, stride, bias, y, yStride, rows, inSize, outSize, accumulate, begin, end);
  } else {
    fewRows<u16>(x, xStride, weight, stride, bias, y, yStride, rows, inSize, outSize, accumulate, begin, end);
  }
}

/** Rows without tiles: strides are bytes. */
function fewRows<T>(
  x: usize,
  xStride: usize,
  weight: usize,
  stride: usize,
  bias: usize,
  y: usize,
  yStride: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  const quarter = outSize >> 2, pairs = rows & ~1, apart = quarter << 2;
  for (let o = begin; o < min(end, quarter); o++) {
    const w = weight + o * stride, at = y + (o << 2), b = bias ? bias + (o << 2) : 0;
    for (let r: usize = 0; r < pairs; r += 2) {
      const from = x + r * xStride, to = at + r * yStride;
      fourOutputsTwoRows<T>(from, xStride, w, quarter * stride, inSize, to, yStride, apart, b, accumulate);
    }
    if (pairs < rows) put(at, apart, fourOutputs<T>(x, w, quarter * stride, inSize), b, accumulate);
  }
  for (let o = 3 * quarter + max(begin, quarter); o < 3 * quarter + end; o++) {
    for (let r: usize = 0; r < rows; r++) {
      const at = y + r * yStride + (o << 2);
      let value = dot<T>(x + r * xStride, weight + o * stride, inSize);
      if (bias) value += load<f32>(bias + (o << 2));
      if (accumulate) value += load<f32>(at);
      store<f32>(at, value);
    }
  }
}

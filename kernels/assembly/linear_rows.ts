// deno-fmt-ignore-file: the formatter drops `@inline`.
// y = or += x W^T (+ bias), float32, of many rows: both sides stand three lines side by side, four elements of each in turn, so
// that a tile of nine sums reads two streams. Engines check the bounds of each load, and look fewer of them up so.
//
// Sums are added up as in tiles.ts: a row's result does not depend on how many rows there are.
import { first, four, second, tail } from "./bfloat16";
import { loadTail, multiplyAdd, storeTail, sums } from "./lanes";

/** Bytes of three lines of so many elements, whose ends are filled up with zeros to a multiple of four. */
@inline
function bytesOfThree(count: usize): usize {
  return 12 * ((count + 3) & ~3);
}

/** Puts three lines side by side. */
function place<T>(a: usize, b: usize, c: usize, count: usize, to: usize): void {
  const step = sizeof<T>() << 3;
  let i: usize = 0;
  for (const end = (count >> 3) * step; i < end; i += step, to += 96) {
    const u = v128.load(a + i), v = v128.load(b + i), w = v128.load(c + i);
    v128.store(to, first<T>(u));
    v128.store(to, first<T>(v), 16);
    v128.store(to, first<T>(w), 32);
    v128.store(to, second<T>(u, a + i), 48);
    v128.store(to, second<T>(v, b + i), 64);
    v128.store(to, second<T>(w, c + i), 80);
  }
  if (count & 4) {
    v128.store(to, four<T>(a + i));
    v128.store(to, four<T>(b + i), 16);
    v128.store(to, four<T>(c + i), 32);
    i += step >> 1;
    to += 48;
  }
  const rest = count & 3;
  if (!rest) return;
  v128.store(to, tail<T>(a + i, rest));
  v128.store(to, tail<T>(b + i, rest), 16);
  v128.store(to, tail<T>(c + i, rest), 32);
}

/**
 * Puts three lines of `count` numbers side by side, from `index` of `all` on; the last stands for those that are not there.
 * `bits` are 32, or 16 for bfloat16.
 */
@inline
function placeThree(from: usize, bits: u32, index: usize, all: usize, count: usize, to: usize): void {
  const line = count * (bits >> 3), last = from + (all - 1) * line, a = from + index * line, b = min(a + line, last);
  const c = min(b + line, last);
  if (bits == 32) place<f32>(a, b, c, count, to);
  else place<u16>(a, b, c, count, to);
}

/** Rows of x (rows, inSize) three side by side. An item is three rows. */
export function place_rows(
  x: usize,
  placed: usize,
  rows: usize,
  inSize: usize,
  begin: usize,
  end: usize,
): void {
  const bytes = bytesOfThree(inSize);
  for (let n = begin; n < end; n++) placeThree(x, 32, 3 * n, rows, inSize, placed + n * bytes);
}

/** Three neighbours. */
@inline
function loadThree(from: usize): v128 {
  return v128.load32_lane(from, v128.load64_zero(from), 2, 8);
}

/** Stores up to three neighbouring outputs. */
@inline
function put(y: usize, products: v128, bias: usize, accumulate: bool, outputs: usize): void {
  if (outputs == 3) {
    if (bias) products = f32x4.add(products, loadThree(bias));
    if (accumulate) products = f32x4.add(products, loadThree(y));
    v128.store64_lane(y, products, 0);
    v128.store32_lane(y, products, 2, 8);
    return;
  }
  if (bias) products = f32x4.add(products, loadTail(bias, outputs));
  if (accumulate) products = f32x4.add(products, loadTail(y, outputs));
  storeTail(y, products, outputs);
}

/** Three rows times three lines: `rows` and `outputs` of them are stored. */
function tile(
  x: usize,
  w: usize,
  bytes: usize,
  y: usize,
  yStride: usize,
  bias: usize,
  accumulate: bool,
  rows: usize,
  outputs: usize,
): void {
  let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a;
  for (const end = x + bytes; x < end; x += 48, w += 48) {
    const u = v128.load(x), v = v128.load(x, 16), t = v128.load(x, 32), p = v128.load(w);
    a = multiplyAdd(a, u, p);
    b = multiplyAdd(b, v, p);
    c = multiplyAdd(c, t, p);
    const q = v128.load(w, 16);
    d = multiplyAdd(d, u, q);
    e = multiplyAdd(e, v, q);
    f = multiplyAdd(f, t, q);
    const r = v128.load(w, 32);
    g = multiplyAdd(g, u, r);
    h = multiplyAdd(h, v, r);
    i = multiplyAdd(i, t, r);
  }
  put(y, sums(a, d, g, g), bias, accumulate, outputs);
  if (rows > 1) put(y + yStride, sums(b, e, h, h), bias, accumulate, outputs);
  if (rows > 2) put(y + 2 * yStride, sums(c, f, i, i), bias, accumulate, outputs);
}

/**
 * `placed` has the rows from `place_rows`; `bias` is 0 for none. `bits` of the weight are 32, or 16 for bfloat16. `panel`
 * holds `threes` times three lines. An item is three outputs.
 */
export function linear_rows(
  placed: usize,
  weight: usize,
  bits: u32,
  bias: usize,
  y: usize,
  yStride: usize,
  panel: usize,
  threes: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  const bytes = bytesOfThree(inSize);
  yStride <<= 2;
  for (let n = begin; n < end; n += threes) {
    const held = min(threes, end - n);
    for (let i: usize = 0; i < held; i++) placeThree(weight, bits, 3 * (n + i), outSize, inSize, panel + i * bytes);
    for (let r: usize = 0, x = placed; r < rows; r += 3, x += bytes) {
      for (let i: usize = 0; i < held; i++) {
        const o = 3 * (n + i), at = o << 2, b = bias ? bias + at : 0;
        tile(x, panel + i * bytes, bytes, y + r * yStride + at, yStride, b, accumulate, rows - r, min(outSize - o, <usize> 3));
      }
    }
  }
}

// deno-fmt-ignore-file: the formatter drops `@inline`.
// Four rows of one adapter side by side: as in fourier.ts, with a lane for each row. Each row has the same bits as alone.
//
// A coefficient meets four rows at once, and a pass of the transform needs no shuffles.
import { transformFour } from "./fft";
import { half, multiplyAdd, multiplySubtract } from "./lanes";

/** y += x dW^T of four rows, for each linear whose record has coefficients. `longer` is bytes of the longest row. */
export function fourRows(
  x: usize,
  xStride: usize,
  record: usize,
  apart: usize,
  tables: usize,
  values: usize,
  y: usize,
  yStride: usize,
  scratch: usize,
  longer: usize,
  inSize: usize,
  inTurns: usize,
  out0: usize,
  turns0: usize,
  out1: usize,
  turns1: usize,
  out2: usize,
  turns2: usize,
): void {
  const work = scratch, pair = work + 2048, other = pair + (longer << 2), spectrum = other + (longer << 2);
  const bins = spectrum + (longer << 3);
  let analysed = false;
  for (let i: usize = 0; i < 3; i++, record += apart) {
    const out = i == 0 ? out0 : i == 1 ? out1 : out2, turns = i == 0 ? turns0 : i == 1 ? turns1 : turns2;
    const at = y;
    y += out << 2;
    if (!out || !load<u32>(record, 8)) continue;
    if (!analysed) analyse(x, xStride << 2, inSize >> 1, inTurns, pair, other, work, spectrum);
    analysed = true;
    const table = tables + (<usize> load<u32>(record) << 2);
    gather(spectrum, table, values + (<usize> load<u32>(record, 4) << 2), out >> 1, bins);
    synthesise(bins, out >> 1, turns, pair, other, work, v128.load32_splat(record, 12), at, yStride << 2);
  }
}

/** All bins of four real rows, `line` bytes from one to the next: real and imaginary parts in turn. */
function analyse(
  x: usize,
  line: usize,
  h: usize,
  turns: usize,
  pair: usize,
  other: usize,
  work: usize,
  spectrum: usize,
): void {
  const all = h << 4;
  // Elements 4 i to 4 i + 3: those of even number are real parts, the others imaginary parts.
  for (let i: usize = 0, to = pair; i < h << 3; i += 16, to += 32) {
    const from = x + i, a = v128.load(from), b = v128.load(from + line);
    const c = v128.load(from + 2 * line), d = v128.load(from + 3 * line);
    const ab = i32x4.shuffle(a, b, 0, 4, 1, 5), cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
    const ef = i32x4.shuffle(a, b, 2, 6, 3, 7), gh = i32x4.shuffle(c, d, 2, 6, 3, 7);
    v128.store(to, i64x2.shuffle(ab, cd, 0, 2));
    v128.store(to, i64x2.shuffle(ef, gh, 0, 2), 16);
    v128.store(to + all, i64x2.shuffle(ab, cd, 1, 3));
    v128.store(to + all, i64x2.shuffle(ef, gh, 1, 3), 16);
  }
  const z = transformFour(h, pair, other, turns + (h << 3), work);
  const none = f32x4.splat(0), middle = spectrum + (h << 5), by = half;
  const firstRe = v128.load(z), firstIm = v128.load(z + all);
  v128.store(spectrum, f32x4.add(firstRe, firstIm));
  v128.store(spectrum, none, 16);
  v128.store(middle, f32x4.sub(firstRe, firstIm));
  v128.store(middle, none, 16);
  for (let k: usize = 1; k <= h >> 1; k++) {
    const p = z + (k << 4), q = z + ((h - k) << 4), t = turns + (k << 2);
    const ar = v128.load(p), ai = v128.load(p + all), br = v128.load(q), bi = v128.load(q + all);
    const cos = v128.load32_splat(t), sin = v128.load32_splat(t + (h << 2));
    const sumRe = f32x4.add(ar, br), sumIm = f32x4.sub(ai, bi);
    const difRe = f32x4.sub(ar, br), difIm = f32x4.add(ai, bi);
    const turnedRe = multiplyAdd(f32x4.mul(cos, difIm), sin, difRe);
    const turnedIm = multiplySubtract(f32x4.mul(sin, difIm), cos, difRe);
    const low = spectrum + (k << 5), high = spectrum + ((2 * h - k) << 5), apart = (h - 2 * k) << 5;
    putBins(low + apart, high - apart, f32x4.mul(by, f32x4.sub(sumRe, turnedRe)), f32x4.mul(by, f32x4.sub(turnedIm, sumIm)));
    putBins(low, high, f32x4.mul(by, f32x4.add(sumRe, turnedRe)), f32x4.mul(by, f32x4.add(sumIm, turnedIm)));
  }
}

/** Stores a bin of four rows, and its mirror. */
@inline
function putBins(to: usize, mirror: usize, re: v128, im: v128): void {
  v128.store(to, re);
  v128.store(to, im, 16);
  v128.store(mirror, re);
  v128.store(mirror, f32x4.neg(im), 16);
}

/** The bins k <= h of the outputs: SUM of coefficients times bins of the inputs. */
function gather(spectrum: usize, table: usize, values: usize, h: usize, bins: usize): void {
  const sources = table + ((h + 2) << 2), apart = (h + 1) << 4;
  let e: usize = 0;
  for (let k: usize = 0; k <= h; k++) {
    const end = <usize> load<u32>(table + (k << 2), 4) << 2;
    let re = f32x4.splat(0), im = re;
    for (; e < end; e += 4) {
      const bin = spectrum + (<usize> load<u32>(sources + e) << 5), c = v128.load32_splat(values + e);
      re = multiplyAdd(re, v128.load(bin), c);
      im = multiplyAdd(im, v128.load(bin, 16), c);
    }
    v128.store(bins + (k << 4), re);
    v128.store(bins + apart + (k << 4), im);
  }
}

/** y[p] += scale Re SUM_k bins[k] e^{2 pi i p k / (2 h)} of four rows, `line` bytes from one to the next. */
function synthesise(
  bins: usize,
  h: usize,
  turns: usize,
  pair: usize,
  other: usize,
  work: usize,
  scale: v128,
  y: usize,
  line: usize,
): void {
  const all = h << 4, apart = (h + 1) << 4, by = half;
  for (let k: usize = 1; k <= h >> 1; k++) {
    const near = k << 4, far = (h - k) << 4, t = turns + (k << 2);
    const ar = v128.load(bins + near), ai = v128.load(bins + near + apart);
    const br = v128.load(bins + far), bi = v128.load(bins + far + apart);
    const cos = v128.load32_splat(t), sin = v128.load32_splat(t + (h << 2));
    const sumRe = f32x4.add(ar, br), difRe = f32x4.sub(ar, br);
    const sumIm = f32x4.add(ai, bi), difIm = f32x4.sub(ai, bi);
    const turnedRe = multiplyAdd(f32x4.mul(cos, sumIm), sin, difRe);
    const turnedIm = multiplySubtract(f32x4.mul(cos, difRe), sin, sumIm);
    v128.store(pair + far, f32x4.mul(by, f32x4.add(sumRe, turnedRe)));
    v128.store(pair + all + far, f32x4.mul(by, f32x4.sub(turnedIm, difIm)));
    v128.store(pair + near, f32x4.mul(by, f32x4.sub(sumRe, turnedRe)));
    v128.store(pair + all + near, f32x4.mul(by, f32x4.add(difIm, turnedIm)));
  }
  const first = v128.load(bins), last = v128.load(bins + all);
  v128.store(pair, f32x4.add(first, last));
  v128.store(pair + all, f32x4.sub(first, last));
  const z = transformFour(h, pair, other, turns + (h << 3), work);
  for (let i: usize = 0, to = y; i < all; i += 32, to += 16) {
    const re = z + i, im = re + all;
    const a = v128.load(re), b = v128.load(im), c = v128.load(re, 16), d = v128.load(im, 16);
    const ab = i32x4.shuffle(a, b, 0, 4, 1, 5), cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
    const ef = i32x4.shuffle(a, b, 2, 6, 3, 7), gh = i32x4.shuffle(c, d, 2, 6, 3, 7);
    addTo(to, scale, i64x2.shuffle(ab, cd, 0, 2));
    addTo(to + line, scale, i64x2.shuffle(ab, cd, 1, 3));
    addTo(to + 2 * line, scale, i64x2.shuffle(ef, gh, 0, 2));
    addTo(to + 3 * line, scale, i64x2.shuffle(ef, gh, 1, 3));
  }
}

/** y += scale v. */
@inline
function addTo(y: usize, scale: v128, v: v128): void {
  v128.store(y, multiplyAdd(v128.load(y), scale, v));
}

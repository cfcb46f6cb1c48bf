// Four rows of one adapter side by side: as in fourier.ts, with a lane for each row. Each row has the same bits as alone.
//
// A coefficient meets four rows at once, and a pass of the transform needs no shuffles.
import { transformFour, transposed } from "./fft";

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
  for (let i: usize = 0; i < h << 3; i += 16) {
    const from = x + i, to = pair + (i << 1);
    turned(from, line, work);
    v128.store(to, v128.load(work));
    v128.store(to + all, v128.load(work, 16));
    v128.store(to, v128.load(work, 32), 16);
    v128.store(to + all, v128.load(work, 48), 16);
  }
  const z = transformFour(h, pair, other, turns + (h << 3), work);
  const half = f32x4.splat(0.5), none = f32x4.splat(0), middle = spectrum + (h << 5);
  const firstRe = v128.load(z), firstIm = v128.load(z + all);
  v128.store(spectrum, f32x4.add(firstRe, firstIm));
  v128.store(spectrum, none, 16);
  v128.store(middle, f32x4.sub(firstRe, firstIm));
  v128.store(middle, none, 16);
  for (let k: usize = 1; k < h; k++) {
    const p = z + (k << 4), q = z + ((h - k) << 4), t = turns + (k << 2);
    const ar = v128.load(p), ai = v128.load(p + all), br = v128.load(q), bi = v128.load(q + all);
    const cos = v128.load32_splat(t), sin = v128.load32_splat(t + (h << 2));
    const sumRe = f32x4.add(ar, br), sumIm = f32x4.sub(ai, bi);
    const difRe = f32x4.sub(ar, br), difIm = f32x4.add(ai, bi);
    const re = f32x4.mul(half, f32x4.add(sumRe, f32x4.add(f32x4.mul(cos, difIm), f32x4.mul(sin, difRe))));
    const im = f32x4.mul(half, f32x4.add(sumIm, f32x4.sub(f32x4.mul(sin, difIm), f32x4.mul(cos, difRe))));
    const to = spectrum + (k << 5), mirror = spectrum + ((2 * h - k) << 5);
    v128.store(to, re);
    v128.store(to, im, 16);
    v128.store(mirror, re);
    v128.store(mirror, f32x4.neg(im), 16);
  }
}

/** Four neighbours of four rows: the four first ones, the four second ones, and so on. */
function turned(from: usize, line: usize, to: usize): void {
  transposed(
    to,
    v128.load(from),
    v128.load(from + line),
    v128.load(from + 2 * line),
    v128.load(from + 3 * line),
  );
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
      re = f32x4.add(re, f32x4.mul(v128.load(bin), c));
      im = f32x4.add(im, f32x4.mul(v128.load(bin, 16), c));
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
  const all = h << 4, apart = (h + 1) << 4, half = f32x4.splat(0.5);
  for (let k: usize = 1; k < h; k++) {
    const p = bins + (k << 4), q = bins + ((h - k) << 4), t = turns + (k << 2);
    const ar = v128.load(p), ai = v128.load(p + apart);
    const cr = v128.load(q), ci = f32x4.neg(v128.load(q + apart));
    const cos = v128.load32_splat(t), sin = v128.load32_splat(t + (h << 2));
    const dr = f32x4.sub(ar, cr), di = f32x4.sub(ai, ci);
    const tr = f32x4.add(f32x4.mul(cos, di), f32x4.mul(sin, dr));
    const ti = f32x4.sub(f32x4.mul(cos, dr), f32x4.mul(sin, di));
    v128.store(pair + (k << 4), f32x4.mul(half, f32x4.sub(f32x4.add(ar, cr), tr)));
    v128.store(pair + all + (k << 4), f32x4.mul(half, f32x4.add(f32x4.add(ai, ci), ti)));
  }
  const first = v128.load(bins), last = v128.load(bins + all);
  v128.store(pair, f32x4.add(first, last));
  v128.store(pair + all, f32x4.sub(first, last));
  const z = transformFour(h, pair, other, turns + (h << 3), work);
  for (let i: usize = 0; i < all; i += 32) {
    const re = z + i, im = re + all, to = y + (i >> 1);
    transposed(work, v128.load(re), v128.load(im), v128.load(re, 16), v128.load(im, 16));
    for (let r: usize = 0; r < 4; r++) {
      const row = to + r * line;
      v128.store(row, f32x4.add(v128.load(row), f32x4.mul(scale, v128.load(work + (r << 4)))));
    }
  }
}

/**
 * Real transforms on the CPU: mixed-radix Stockham passes on float64 pairs, any length.
 *
 * @module
 */

/** A complex transform of fixed size with the sign +, on split arrays; works in place through a second pair. */
interface ComplexTransform {
  readonly re: Float64Array;
  readonly im: Float64Array;
  /** Transforms `re`, `im`; the result is in the returned pair (one of two), valid until the next call. */
  run(): { readonly re: Float64Array; readonly im: Float64Array };
}

function radices(size: number): number[] {
  const found: number[] = [];
  let rest = size;
  for (; rest % 4 === 0; rest /= 4) found.push(4);
  for (let p = 2; rest > 1; p++) {
    if (p * p > rest) p = rest;
    for (; rest % p === 0; rest /= p) found.push(p);
  }
  return found;
}

interface Pair {
  readonly re: Float64Array;
  readonly im: Float64Array;
}

/** One pass: `radix` inputs at distance size / radix, `done` points already transformed. */
type Pass = (from: Pair, to: Pair) => void;

/** Twiddles of a pass: e^{2 pi i t k / (radix done)} for t = 1..radix-1, k = 0..done-1. */
function passTwiddles(radix: number, done: number): Pair {
  const re = new Float64Array((radix - 1) * done);
  const im = new Float64Array((radix - 1) * done);
  for (let k = 0; k < done; k++) {
    for (let t = 1; t < radix; t++) {
      const angle = 2 * Math.PI * t * k / (radix * done);
      re[k * (radix - 1) + t - 1] = Math.cos(angle);
      im[k * (radix - 1) + t - 1] = Math.sin(angle);
    }
  }
  return { re, im };
}

function pass2(size: number, done: number): Pass {
  const { re: wr, im: wi } = passTwiddles(2, done);
  const count = size / 2;
  return ({ re, im }, to) => {
    for (let block = 0, j = 0; j < count; block += 2 * done) {
      for (let k = 0; k < done; k++, j++) {
        const br = re[j + count] * wr[k] - im[j + count] * wi[k];
        const bi = re[j + count] * wi[k] + im[j + count] * wr[k];
        const o = block + k;
        to.re[o] = re[j] + br;
        to.im[o] = im[j] + bi;
        to.re[o + done] = re[j] - br;
        to.im[o + done] = im[j] - bi;
      }
    }
  };
}

function pass3(size: number, done: number): Pass {
  const { re: wr, im: wi } = passTwiddles(3, done);
  const count = size / 3;
  const sine = Math.sqrt(3) / 2;
  return ({ re, im }, to) => {
    const outRe = to.re;
    const outIm = to.im;
    for (let block = 0, j = 0; j < count; block += 3 * done) {
      for (let k = 0; k < done; k++, j++) {
        const w = 2 * k;
        const x1 = re[j + count], y1 = im[j + count], x2 = re[j + 2 * count], y2 = im[j + 2 * count];
        const br = x1 * wr[w] - y1 * wi[w], bi = x1 * wi[w] + y1 * wr[w];
        const cr = x2 * wr[w + 1] - y2 * wi[w + 1], ci = x2 * wi[w + 1] + y2 * wr[w + 1];
        const sr = br + cr, si = bi + ci;
        const dr = -sine * (bi - ci), di = sine * (br - cr);
        const mr = re[j] - 0.5 * sr, mi = im[j] - 0.5 * si;
        const o = block + k;
        outRe[o] = re[j] + sr;
        outIm[o] = im[j] + si;
        outRe[o + done] = mr + dr;
        outIm[o + done] = mi + di;
        outRe[o + 2 * done] = mr - dr;
        outIm[o + 2 * done] = mi - di;
      }
    }
  };
}

function pass4(size: number, done: number): Pass {
  const { re: wr, im: wi } = passTwiddles(4, done);
  const count = size / 4;
  return ({ re, im }, to) => {
    const outRe = to.re;
    const outIm = to.im;
    for (let block = 0, j = 0; j < count; block += 4 * done) {
      for (let k = 0; k < done; k++, j++) {
        const w = 3 * k;
        const x1 = re[j + count], y1 = im[j + count];
        const x2 = re[j + 2 * count], y2 = im[j + 2 * count];
        const x3 = re[j + 3 * count], y3 = im[j + 3 * count];
        const br = x1 * wr[w] - y1 * wi[w], bi = x1 * wi[w] + y1 * wr[w];
        const cr = x2 * wr[w + 1] - y2 * wi[w + 1], ci = x2 * wi[w + 1] + y2 * wr[w + 1];
        const dr = x3 * wr[w + 2] - y3 * wi[w + 2], di = x3 * wi[w + 2] + y3 * wr[w + 2];
        const sr = re[j] + cr, si = im[j] + ci, tr = re[j] - cr, ti = im[j] - ci;
        const ur = br + dr, ui = bi + di, vr = -(bi - di), vi = br - dr;
        const o = block + k;
        outRe[o] = sr + ur;
        outIm[o] = si + ui;
        outRe[o + done] = tr + vr;
        outIm[o + done] = ti + vi;
        outRe[o + 2 * done] = sr - ur;
        outIm[o + 2 * done] = si - ui;
        outRe[o + 3 * done] = tr - vr;
        outIm[o + 3 * done] = ti - vi;
      }
    }
  };
}

/** Any other radix: each output a sum over its inputs. */
function passAny(radix: number, size: number, done: number): Pass {
  const period = radix * done;
  const wr = Float64Array.from({ length: period }, (_, k) => Math.cos(2 * Math.PI * k / period));
  const wi = Float64Array.from({ length: period }, (_, k) => Math.sin(2 * Math.PI * k / period));
  const count = size / radix;
  return ({ re, im }, to) => {
    for (let j = 0; j < count; j++) {
      const k = j % done;
      const o = (j - k) * radix + k;
      for (let t = 0; t < radix; t++) {
        const step = k + t * done;
        let sr = 0, si = 0;
        for (let q = 0, w = 0, i = j; q < radix; q++, i += count) {
          sr += re[i] * wr[w] - im[i] * wi[w];
          si += re[i] * wi[w] + im[i] * wr[w];
          w += step;
          if (w >= period) w -= period;
        }
        to.re[o + t * done] = sr;
        to.im[o + t * done] = si;
      }
    }
  };
}

function complexTransform(size: number): ComplexTransform {
  const passes: Pass[] = [];
  let done = 1;
  for (const radix of radices(size)) {
    const make = { 2: pass2, 3: pass3, 4: pass4 }[radix];
    passes.push(make ? make(size, done) : passAny(radix, size, done));
    done *= radix;
  }
  const home: Pair = { re: new Float64Array(size), im: new Float64Array(size) };
  const away: Pair = { re: new Float64Array(size), im: new Float64Array(size) };
  return {
    re: home.re,
    im: home.im,
    run() {
      let from = home;
      let to = away;
      for (const pass of passes) {
        pass(from, to);
        [from, to] = [to, from];
      }
      return from;
    },
  };
}

/** A spectrum as split arrays. */
export interface Spectrum {
  readonly re: Float64Array;
  readonly im: Float64Array;
}

const spectrum = (bins: number): Spectrum => ({ re: new Float64Array(bins), im: new Float64Array(bins) });

/** Real transforms of one length, with their own work space; the sign is + throughout. */
export interface RealTransform {
  /** What `analyse` writes: every bin 0..length-1. */
  readonly analysed: Spectrum;
  /** What `synthesise` reads: the bins 0..floor(length / 2). */
  readonly bins: Spectrum;
  /** analysed[v] = SUM_q x[at + q] e^{2 pi i q v / length}. */
  analyse(x: Float32Array, at: number): void;
  /** y[at + p] += scale * Re SUM_k bins[k] e^{2 pi i p k / length}. */
  synthesise(y: Float32Array, at: number, scale: number): void;
}

function evenTransform(length: number): RealTransform {
  const h = length / 2;
  const fft = complexTransform(h);
  const cos = Float64Array.from({ length: h + 1 }, (_, k) => Math.cos(2 * Math.PI * k / length));
  const sin = Float64Array.from({ length: h + 1 }, (_, k) => Math.sin(2 * Math.PI * k / length));
  const analysed = spectrum(length);
  const bins = spectrum(h + 1);
  return {
    analysed,
    bins,
    analyse(x, at) {
      const { re, im } = analysed;
      for (let j = 0; j < h; j++) {
        fft.re[j] = x[at + 2 * j];
        fft.im[j] = x[at + 2 * j + 1];
      }
      const z = fft.run();
      for (let k = 0; k <= h; k++) {
        const a = k === h ? 0 : k;
        const b = k === 0 ? 0 : h - k;
        const sumRe = z.re[a] + z.re[b], sumIm = z.im[a] - z.im[b];
        const difRe = z.re[a] - z.re[b], difIm = z.im[a] + z.im[b];
        const xr = 0.5 * (sumRe + cos[k] * difIm + sin[k] * difRe);
        const xi = 0.5 * (sumIm - cos[k] * difRe + sin[k] * difIm);
        re[k] = xr;
        im[k] = xi;
        if (k > 0 && k < h) {
          re[length - k] = xr;
          im[length - k] = -xi;
        }
      }
    },
    synthesise(y, at, scale) {
      const { re, im } = bins;
      fft.re[0] = re[0] + re[h];
      fft.im[0] = re[0] - re[h];
      for (let k = 1; k <= h - k; k++) {
        const ar = 0.5 * re[k], ai = 0.5 * im[k], cr = 0.5 * re[h - k], ci = -0.5 * im[h - k];
        const sr = ar + cr, si = ai + ci, dr = ar - cr, di = ai - ci;
        const tr = -(cos[k] * di + sin[k] * dr), ti = cos[k] * dr - sin[k] * di;
        fft.re[k] = sr + tr;
        fft.im[k] = si + ti;
        fft.re[h - k] = sr - tr;
        fft.im[h - k] = ti - si;
      }
      const z = fft.run();
      for (let j = 0; j < h; j++) {
        y[at + 2 * j] += scale * z.re[j];
        y[at + 2 * j + 1] += scale * z.im[j];
      }
    },
  };
}

function oddTransform(length: number): RealTransform {
  const fft = complexTransform(length);
  const analysed = spectrum(length);
  const bins = spectrum((length + 1) / 2);
  return {
    analysed,
    bins,
    analyse(x, at) {
      for (let j = 0; j < length; j++) fft.re[j] = x[at + j];
      fft.im.fill(0);
      const z = fft.run();
      analysed.re.set(z.re);
      analysed.im.set(z.im);
    },
    synthesise(y, at, scale) {
      fft.re.fill(0);
      fft.im.fill(0);
      fft.re.set(bins.re);
      fft.im.set(bins.im);
      const z = fft.run();
      for (let p = 0; p < length; p++) y[at + p] += scale * z.re[p];
    },
  };
}

const transforms = new Map<number, RealTransform>();

/** The transform of a length; made once, about 100 bytes an element. Not reentrant: its work space is shared. */
export function realTransform(length: number): RealTransform {
  let made = transforms.get(length);
  if (!made) transforms.set(length, made = length % 2 === 0 ? evenTransform(length) : oddTransform(length));
  return made;
}

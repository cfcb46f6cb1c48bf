// deno-fmt-ignore-file: the formatter drops `@inline`.
// Complex transforms with the sign +, float32, of sizes that 16 divides: Stockham passes over four points at a time.
//
// Real and imaginary parts lie apart: a pair is `size` real parts and then `size` imaginary ones. Passes go from one
// pair to the other and back. The first has radix 4, so that all later ones find runs of four points or more that are
// turned alike. kernels/fft/wasm.ts lays out the twiddles in the order they are read here, and must agree on the radices.
//
// `wide` transforms are of four rows side by side: an element is a vector, with a lane for each row. A row has the same bits
// as alone.

import { half, kept, multiplyAdd, multiplySubtract } from "./lanes";

/** The sine of an eighth of a turn. */
const diagonal = kept(0.7071067811865476);

/**
 * The radix of the pass that follows when `rest` of the size is left: 8 where that spares a pass of 2 or of 4, else 4 as long as
 * it goes, then the smallest prime.
 */
function nextRadix(rest: usize): usize {
  if (!(rest & 7) && (rest & 31) != 16) return 8;
  if (!(rest & 3)) return 4;
  if (!(rest & 1)) return 2;
  let p: usize = 3;
  while (p * p <= rest && rest % p) p += 2;
  return rest % p ? rest : p;
}

/** Bytes of so many elements. */
@inline

function bytesOf(count: usize, wide: bool): usize {
  return wide ? count << 4 : count << 2;
}

/** Twiddles of the vector that lies so many bytes behind the first. */
@inline

function turn(from: usize, bytes: usize, wide: bool): v128 {
  return wide ? v128.load32_splat(from + (bytes >> 2)) : v128.load(from + bytes);
}

/** Radix 4 without twiddles, the first pass. */
@inline

function firstPass(size: usize, from: usize, to: usize, wide: bool): void {
  const all = bytesOf(size, wide), quarter = all >> 2;
  for (let i: usize = 0; i < quarter; i += 16) {
    const p = from + i, q = p + all;
    const ar = v128.load(p), ai = v128.load(q);
    const br = v128.load(p + quarter), bi = v128.load(q + quarter);
    const cr = v128.load(p + 2 * quarter), ci = v128.load(q + 2 * quarter);
    const dr = v128.load(p + 3 * quarter), di = v128.load(q + 3 * quarter);
    const sr = f32x4.add(ar, cr), si = f32x4.add(ai, ci), tr = f32x4.sub(ar, cr), ti = f32x4.sub(ai, ci);
    const ur = f32x4.add(br, dr), ui = f32x4.add(bi, di), vr = f32x4.sub(di, bi), vi = f32x4.sub(br, dr);
    const o = to + (i << 2);
    four(o, f32x4.add(sr, ur), f32x4.add(tr, vr), f32x4.sub(sr, ur), f32x4.sub(tr, vr), wide);
    four(o + all, f32x4.add(si, ui), f32x4.add(ti, vi), f32x4.sub(si, ui), f32x4.sub(ti, vi), wide);
  }
}

/** Stores the first elements of a, b, c and d, then their second elements, and so on. */
@inline

function four(to: usize, a: v128, b: v128, c: v128, d: v128, wide: bool): void {
  if (wide) {
    v128.store(to, a);
    v128.store(to, b, 16);
    v128.store(to, c, 32);
    v128.store(to, d, 48);
  } else transposed(to, a, b, c, d);
}

/** Stores the first lanes of a, b, c and d, then their second lanes, and so on. */
export function transposed(to: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab = i32x4.shuffle(a, b, 0, 4, 1, 5), cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
  const ef = i32x4.shuffle(a, b, 2, 6, 3, 7), gh = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(to, i64x2.shuffle(ab, cd, 0, 2));
  v128.store(to, i64x2.shuffle(ab, cd, 1, 3), 16);
  v128.store(to, i64x2.shuffle(ef, gh, 0, 2), 32);
  v128.store(to, i64x2.shuffle(ef, gh, 1, 3), 48);
}

@inline

function re(ar: v128, ai: v128, wr: v128, wi: v128): v128 {
  return multiplySubtract(f32x4.mul(ar, wr), ai, wi);
}

@inline

function im(ar: v128, ai: v128, wr: v128, wi: v128): v128 {
  return multiplyAdd(f32x4.mul(ar, wi), ai, wr);
}

@inline

function pass2(size: usize, done: usize, from: usize, to: usize, twiddles: usize, wide: bool): void {
  const all = bytesOf(size, wide), part = all >> 1, run = bytesOf(done, wide), turns = done << 2;
  for (let block: usize = 0; block < part; block += run) {
    for (let k: usize = 0; k < run; k += 16) {
      const p = from + block + k, q = p + all, o = to + 2 * block + k;
      const wr = turn(twiddles, k, wide), wi = turn(twiddles + turns, k, wide);
      const xr = v128.load(p + part), xi = v128.load(q + part);
      const ar = v128.load(p), ai = v128.load(q), br = re(xr, xi, wr, wi), bi = im(xr, xi, wr, wi);
      v128.store(o, f32x4.add(ar, br));
      v128.store(o + all, f32x4.add(ai, bi));
      v128.store(o + run, f32x4.sub(ar, br));
      v128.store(o + run + all, f32x4.sub(ai, bi));
    }
  }
}

@inline

function pass4(size: usize, done: usize, from: usize, to: usize, twiddles: usize, wide: bool): void {
  const all = bytesOf(size, wide), part = all >> 2, run = bytesOf(done, wide), turns = done << 2;
  for (let block: usize = 0; block < part; block += run) {
    for (let k: usize = 0; k < run; k += 16) {
      const p = from + block + k, q = p + all, o = to + 4 * block + k;
      let w = twiddles;
      const ar = v128.load(p), ai = v128.load(q);
      let xr = v128.load(p + part), xi = v128.load(q + part);
      let wr = turn(w, k, wide), wi = turn(w + turns, k, wide);
      const br = re(xr, xi, wr, wi), bi = im(xr, xi, wr, wi);
      w += 2 * turns;
      xr = v128.load(p + 2 * part), xi = v128.load(q + 2 * part);
      wr = turn(w, k, wide), wi = turn(w + turns, k, wide);
      const cr = re(xr, xi, wr, wi), ci = im(xr, xi, wr, wi);
      w += 2 * turns;
      xr = v128.load(p + 3 * part), xi = v128.load(q + 3 * part);
      wr = turn(w, k, wide), wi = turn(w + turns, k, wide);
      const dr = re(xr, xi, wr, wi), di = im(xr, xi, wr, wi);
      const sr = f32x4.add(ar, cr), si = f32x4.add(ai, ci), tr = f32x4.sub(ar, cr), ti = f32x4.sub(ai, ci);
      const ur = f32x4.add(br, dr), ui = f32x4.add(bi, di), vr = f32x4.sub(di, bi), vi = f32x4.sub(br, dr);
      v128.store(o, f32x4.add(sr, ur));
      v128.store(o + all, f32x4.add(si, ui));
      v128.store(o + run, f32x4.add(tr, vr));
      v128.store(o + run + all, f32x4.add(ti, vi));
      v128.store(o + 2 * run, f32x4.sub(sr, ur));
      v128.store(o + 2 * run + all, f32x4.sub(si, ui));
      v128.store(o + 3 * run, f32x4.sub(tr, vr));
      v128.store(o + 3 * run + all, f32x4.sub(ti, vi));
    }
  }
}

@inline

function pass8(size: usize, done: usize, from: usize, to: usize, twiddles: usize, wide: bool): void {
  const all = bytesOf(size, wide), part = all >> 3, run = bytesOf(done, wide), next = done << 3, by = diagonal;
  for (let block: usize = 0; block < part; block += run) {
    for (let k: usize = 0; k < run; k += 16) {
      // Inputs 0, 2, 4 and 6, then 1, 3, 5 and 7: two of radix 4.
      let p = from + block + k, w = twiddles + next;
      const ar = v128.load(p), ai = v128.load(p + all);
      p += 2 * part;
      let xr = v128.load(p), xi = v128.load(p + all), wr = turn(w, k, wide), wi = turn(w + (next >> 1), k, wide);
      const br = re(xr, xi, wr, wi), bi = im(xr, xi, wr, wi);
      p += 2 * part, w += 2 * next;
      xr = v128.load(p), xi = v128.load(p + all), wr = turn(w, k, wide), wi = turn(w + (next >> 1), k, wide);
      const cr = re(xr, xi, wr, wi), ci = im(xr, xi, wr, wi);
      p += 2 * part, w += 2 * next;
      xr = v128.load(p), xi = v128.load(p + all), wr = turn(w, k, wide), wi = turn(w + (next >> 1), k, wide);
      const dr = re(xr, xi, wr, wi), di = im(xr, xi, wr, wi);
      let sr = f32x4.add(ar, cr), si = f32x4.add(ai, ci), tr = f32x4.sub(ar, cr), ti = f32x4.sub(ai, ci);
      let ur = f32x4.add(br, dr), ui = f32x4.add(bi, di), vr = f32x4.sub(di, bi), vi = f32x4.sub(br, dr);
      const er = f32x4.add(sr, ur), ei = f32x4.add(si, ui), fr = f32x4.add(tr, vr), fi = f32x4.add(ti, vi);
      const gr = f32x4.sub(sr, ur), gi = f32x4.sub(si, ui), hr = f32x4.sub(tr, vr), hi = f32x4.sub(ti, vi);
      p = from + block + k + part, w = twiddles;
      xr = v128.load(p), xi = v128.load(p + all), wr = turn(w, k, wide), wi = turn(w + (next >> 1), k, wide);
      const ir = re(xr, xi, wr, wi), ii = im(xr, xi, wr, wi);
      p += 2 * part, w += 2 * next;
      xr = v128.load(p), xi = v128.load(p + all), wr = turn(w, k, wide), wi = turn(w + (next >> 1), k, wide);
      const jr = re(xr, xi, wr, wi), ji = im(xr, xi, wr, wi);
      p += 2 * part, w += 2 * next;
      xr = v128.load(p), xi = v128.load(p + all), wr = turn(w, k, wide), wi = turn(w + (next >> 1), k, wide);
      const kr = re(xr, xi, wr, wi), ki = im(xr, xi, wr, wi);
      p += 2 * part, w += 2 * next;
      xr = v128.load(p), xi = v128.load(p + all), wr = turn(w, k, wide), wi = turn(w + (next >> 1), k, wide);
      const lr = re(xr, xi, wr, wi), li = im(xr, xi, wr, wi);
      sr = f32x4.add(ir, kr), si = f32x4.add(ii, ki), tr = f32x4.sub(ir, kr), ti = f32x4.sub(ii, ki);
      ur = f32x4.add(jr, lr), ui = f32x4.add(ji, li), vr = f32x4.sub(li, ji), vi = f32x4.sub(jr, lr);
      let o = to + 8 * block + k;
      const last = o + 4 * run;
      let qr = f32x4.add(sr, ur), qi = f32x4.add(si, ui);
      both(o, last, all, er, ei, qr, qi);
      // The others are turned by 1 + i and -1 + i, of length 1, and by i.
      xr = f32x4.add(tr, vr), xi = f32x4.add(ti, vi), o += run;
      qr = f32x4.sub(xr, xi), qi = f32x4.add(xr, xi);
      v128.store(o, multiplyAdd(fr, by, qr));
      v128.store(o + all, multiplyAdd(fi, by, qi));
      v128.store(last + run, multiplySubtract(fr, by, qr));
      v128.store(last + run + all, multiplySubtract(fi, by, qi));
      qr = f32x4.sub(ui, si), qi = f32x4.sub(sr, ur), o += run;
      both(o, last + 2 * run, all, gr, gi, qr, qi);
      xr = f32x4.sub(tr, vr), xi = f32x4.sub(ti, vi), o += run;
      qr = f32x4.add(xr, xi), qi = f32x4.sub(xr, xi);
      v128.store(o, multiplySubtract(hr, by, qr));
      v128.store(o + all, multiplyAdd(hi, by, qi));
      v128.store(last + 3 * run, multiplyAdd(hr, by, qr));
      v128.store(last + 3 * run + all, multiplySubtract(hi, by, qi));
    }
  }
}

/** Stores a sum and a difference, whose imaginary parts lie `all` bytes behind. */
@inline

function both(sum: usize, difference: usize, all: usize, ar: v128, ai: v128, br: v128, bi: v128): void {
  v128.store(sum, f32x4.add(ar, br));
  v128.store(sum + all, f32x4.add(ai, bi));
  v128.store(difference, f32x4.sub(ar, br));
  v128.store(difference + all, f32x4.sub(ai, bi));
}

@inline

function pass3(size: usize, done: usize, from: usize, to: usize, twiddles: usize, wide: bool): void {
  const all = bytesOf(size, wide), part = bytesOf(size / 3, wide), run = bytesOf(done, wide), turns = done << 2;
  const sin = v128.load32_splat(twiddles + 4 * turns, 12), halfOf = half;
  for (let block: usize = 0; block < part; block += run) {
    for (let k: usize = 0; k < run; k += 16) {
      const p = from + block + k, q = p + all, o = to + 3 * block + k;
      let w = twiddles;
      const ar = v128.load(p), ai = v128.load(q);
      let xr = v128.load(p + part), xi = v128.load(q + part);
      let wr = turn(w, k, wide), wi = turn(w + turns, k, wide);
      const br = re(xr, xi, wr, wi), bi = im(xr, xi, wr, wi);
      w += 2 * turns;
      xr = v128.load(p + 2 * part), xi = v128.load(q + 2 * part);
      wr = turn(w, k, wide), wi = turn(w + turns, k, wide);
      const cr = re(xr, xi, wr, wi), ci = im(xr, xi, wr, wi);
      const sr = f32x4.add(br, cr), si = f32x4.add(bi, ci);
      // The cosines are -1/2, the sines opposite.
      const tr = multiplySubtract(ar, halfOf, sr), ti = multiplySubtract(ai, halfOf, si);
      const ur = f32x4.mul(sin, f32x4.sub(ci, bi)), ui = f32x4.mul(sin, f32x4.sub(br, cr));
      v128.store(o, f32x4.add(ar, sr));
      v128.store(o + all, f32x4.add(ai, si));
      both(o + run, o + 2 * run, all, tr, ti, ur, ui);
    }
  }
}

/**
 * An odd radix p. Inputs t and p - t meet as their sum and difference, which `work` holds; output t and p - t are then
 * a sum of cosines times sums, plus and minus i times one of sines times differences. Behind the twiddles lie
 * cos, sin (2 pi j / p), j < p.
 */
@inline

function passOdd(
  p: usize,
  size: usize,
  done: usize,
  from: usize,
  to: usize,
  twiddles: usize,
  work: usize,
  wide: bool,
): void {
  const part = bytesOf(size / p, wide), all = bytesOf(size, wide), run = bytesOf(done, wide), half = p >> 1;
  const line = done << 2, turns = twiddles + 2 * (p - 1) * line;
  for (let block: usize = 0; block < part; block += run) {
    for (let k: usize = 0; k < run; k += 16) {
      const at = from + block + k, o = to + p * block + k;
      const ar = v128.load(at), ai = v128.load(at + all);
      let totalRe = ar, totalIm = ai;
      for (let t: usize = 1; t <= half; t++) {
        const u = p - t, w = twiddles + 2 * (t - 1) * line, z = twiddles + 2 * (u - 1) * line;
        const x = at + t * part, y = at + u * part;
        const xr = v128.load(x), xi = v128.load(x + all);
        const wr = turn(w, k, wide), wi = turn(w + line, k, wide);
        const yr = v128.load(y), yi = v128.load(y + all);
        const zr = turn(z, k, wide), zi = turn(z + line, k, wide);
        const br = re(xr, xi, wr, wi), bi = im(xr, xi, wr, wi);
        const cr = re(yr, yi, zr, zi), ci = im(yr, yi, zr, zi);
        const sr = f32x4.add(br, cr), si = f32x4.add(bi, ci), to = work + ((t - 1) << 6);
        v128.store(to, sr);
        v128.store(to, si, 16);
        v128.store(to, f32x4.sub(br, cr), 32);
        v128.store(to, f32x4.sub(bi, ci), 48);
        totalRe = f32x4.add(totalRe, sr);
        totalIm = f32x4.add(totalIm, si);
      }
      v128.store(o, totalRe);
      v128.store(o + all, totalIm);
      for (let t: usize = 1; t <= half; t++) {
        let sr = ar, si = ai, dr = f32x4.splat(0), di = dr;
        let turn: usize = 0;
        for (let q: usize = 0; q < half; q++) {
          turn += t;
          if (turn >= p) turn -= p;
          const cos = v128.load32_splat(turns + (turn << 3)), sin = v128.load32_splat(turns + (turn << 3), 4);
          const x = work + (q << 6);
          sr = f32x4.add(sr, f32x4.mul(cos, v128.load(x)));
          si = f32x4.add(si, f32x4.mul(cos, v128.load(x, 16)));
          dr = f32x4.add(dr, f32x4.mul(sin, v128.load(x, 32)));
          di = f32x4.add(di, f32x4.mul(sin, v128.load(x, 48)));
        }
        const x = o + t * run, y = o + (p - t) * run;
        v128.store(x, f32x4.sub(sr, di));
        v128.store(x + all, f32x4.add(si, dr));
        v128.store(y, f32x4.add(sr, di));
        v128.store(y + all, f32x4.sub(si, dr));
      }
    }
  }
}

/** Transforms the pair at `from`; returns the pair with the result. 2 KiB of `work` serve primes to 61. */
export function transform(size: usize, from: usize, other: usize, twiddles: usize, work: usize): usize {
  return passes(size, from, other, twiddles, work, false);
}

/** The same of four rows side by side. */
export function transformFour(size: usize, from: usize, other: usize, twiddles: usize, work: usize): usize {
  return passes(size, from, other, twiddles, work, true);
}

@inline

function passes(
  size: usize,
  from: usize,
  other: usize,
  twiddles: usize,
  work: usize,
  wide: bool,
): usize {
  firstPass(size, from, other, wide);
  let source = other, target = from;
  for (let done: usize = 4; done < size;) {
    const radix = nextRadix(size / done);
    if (radix == 8) pass8(size, done, source, target, twiddles, wide);
    else if (radix == 4) pass4(size, done, source, target, twiddles, wide);
    else if (radix == 2) pass2(size, done, source, target, twiddles, wide);
    else if (radix == 3) {
      pass3(size, done, source, target, twiddles, wide);
      twiddles += radix << 3;
    } else {
      passOdd(radix, size, done, source, target, twiddles, work, wide);
      twiddles += radix << 3;
    }
    twiddles += (2 * (radix - 1) * done) << 2;
    done *= radix;
    const written = target;
    target = source;
    source = written;
  }
  return source;
}

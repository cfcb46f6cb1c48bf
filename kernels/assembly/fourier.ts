// deno-fmt-ignore-file: the formatter drops `@inline`.
// y += x dW^T of a sparse spectrum, each row with its own adapter: a real transform, a gather, a real transform back.
import { transform } from "./fft";
import { fourRows } from "./fourier_four";
import { half, multiplyAdd, multiplySubtract } from "./lanes";

/** Lanes in the opposite order. */
function reversed(v: v128): v128 {
  return i32x4.shuffle(v, v, 3, 2, 1, 0);
}

/**
 * All bins of a real row x: spectrum[k] = SUM_q x[q] e^{2 pi i q k / (2 h)} for k < 2 h, real and imaginary part side
 * by side. Even elements are transformed as real parts, odd ones as imaginary parts, and told apart by symmetry.
 * `turns` holds cos (2 pi k / (2 h)) for k < h, then the sines, then the twiddles of the transform.
 */
function analyse(
  x: usize,
  h: usize,
  turns: usize,
  pair: usize,
  other: usize,
  work: usize,
  spectrum: usize,
): void {
  const all = h << 2;
  for (let i: usize = 0; i < all; i += 16) {
    const a = v128.load(x + 2 * i), b = v128.load(x + 2 * i, 16);
    v128.store(pair + i, i32x4.shuffle(a, b, 0, 2, 4, 6));
    v128.store(pair + all + i, i32x4.shuffle(a, b, 1, 3, 5, 7));
  }
  const z = transform(h, pair, other, turns + 2 * all, work);
  const firstRe = load<f32>(z), firstIm = load<f32>(z + all), by = half;
  store<f32>(spectrum, firstRe + firstIm);
  store<f32>(spectrum, 0, 4);
  store<f32>(spectrum + (h << 3), firstRe - firstIm);
  store<f32>(spectrum + (h << 3), 0, 4);
  // Bins 1 to h / 2 in fours, and with them those from h - 1 down.
  for (let k: usize = 1; k < h >> 1; k += 4) {
    const p = z + (k << 2), q = z + ((h - k - 3) << 2), t = turns + (k << 2);
    const ar = v128.load(p), ai = v128.load(p + all);
    const br = reversed(v128.load(q)), bi = reversed(v128.load(q + all));
    const cos = v128.load(t), sin = v128.load(t + all);
    const sumRe = f32x4.add(ar, br), sumIm = f32x4.sub(ai, bi);
    const difRe = f32x4.sub(ar, br), difIm = f32x4.add(ai, bi);
    const turnedRe = multiplyAdd(f32x4.mul(cos, difIm), sin, difRe);
    const turnedIm = multiplySubtract(f32x4.mul(sin, difIm), cos, difRe);
    const low = spectrum + (k << 3), high = spectrum + ((2 * h - k - 3) << 3), apart = (h - 2 * k - 3) << 3;
    const farRe = reversed(f32x4.mul(by, f32x4.sub(sumRe, turnedRe)));
    putBins(low + apart, high - apart, farRe, reversed(f32x4.mul(by, f32x4.sub(turnedIm, sumIm))));
    putBins(low, high, f32x4.mul(by, f32x4.add(sumRe, turnedRe)), f32x4.mul(by, f32x4.add(sumIm, turnedIm)));
  }
}

/** Stores four bins, and their mirrors in the opposite order. */
@inline
function putBins(to: usize, mirror: usize, re: v128, im: v128): void {
  v128.store(to, i32x4.shuffle(re, im, 0, 4, 1, 5));
  v128.store(to, i32x4.shuffle(re, im, 2, 6, 3, 7), 16);
  const conjugate = f32x4.neg(im);
  v128.store(mirror, i32x4.shuffle(re, conjugate, 3, 7, 2, 6));
  v128.store(mirror, i32x4.shuffle(re, conjugate, 1, 5, 0, 4), 16);
}

/**
 * The bins k <= h of the output from a table (see kernels/fourier_table.ts): SUM of coefficients times bins of the
 * input. Real parts go to `bins`, imaginary parts `apart` bytes behind.
 */
function gather(spectrum: usize, table: usize, values: usize, h: usize, bins: usize, apart: usize): void {
  const sources = table + ((h + 2) << 2);
  let e: usize = 0;
  for (let k: usize = 0; k <= h; k++) {
    const end = <usize> load<u32>(table + (k << 2), 4) << 2;
    let sum = f32x4.splat(0);
    for (; e < end; e += 4) {
      const bin = v128.load64_zero(spectrum + (<usize> load<u32>(sources + e) << 3));
      sum = multiplyAdd(sum, bin, v128.load32_splat(values + e));
    }
    v128.store32_lane(bins + (k << 2), sum, 0);
    v128.store32_lane(bins + apart + (k << 2), sum, 1);
  }
}

/** y[p] += scale Re SUM_k bins[k] e^{2 pi i p k / (2 h)}, p < 2 h: the way back of `analyse`. */
function synthesise(
  bins: usize,
  apart: usize,
  h: usize,
  turns: usize,
  pair: usize,
  other: usize,
  work: usize,
  scale: v128,
  y: usize,
): void {
  const all = h << 2, by = half;
  for (let k: usize = 1; k < h >> 1; k += 4) {
    const near = k << 2, far = (h - k - 3) << 2, t = turns + near;
    const ar = v128.load(bins + near), ai = v128.load(bins + near + apart);
    const br = reversed(v128.load(bins + far)), bi = reversed(v128.load(bins + far + apart));
    const cos = v128.load(t), sin = v128.load(t + all);
    const sumRe = f32x4.add(ar, br), difRe = f32x4.sub(ar, br);
    const sumIm = f32x4.add(ai, bi), difIm = f32x4.sub(ai, bi);
    const turnedRe = multiplyAdd(f32x4.mul(cos, sumIm), sin, difRe);
    const turnedIm = multiplySubtract(f32x4.mul(cos, difRe), sin, sumIm);
    v128.store(pair + far, reversed(f32x4.mul(by, f32x4.add(sumRe, turnedRe))));
    v128.store(pair + all + far, reversed(f32x4.mul(by, f32x4.sub(turnedIm, difIm))));
    v128.store(pair + near, f32x4.mul(by, f32x4.sub(sumRe, turnedRe)));
    v128.store(pair + all + near, f32x4.mul(by, f32x4.add(difIm, turnedIm)));
  }
  const first = load<f32>(bins), last = load<f32>(bins + all);
  store<f32>(pair, first + last);
  store<f32>(pair + all, first - last);
  const z = transform(h, pair, other, turns + 2 * all, work);
  for (let i: usize = 0; i < all; i += 16) {
    const re = v128.load(z + i), im = v128.load(z + all + i), to = y + 2 * i;
    v128.store(to, multiplyAdd(v128.load(to), scale, i32x4.shuffle(re, im, 0, 4, 1, 5)));
    v128.store(to, multiplyAdd(v128.load(to, 16), scale, i32x4.shuffle(re, im, 2, 6, 3, 7)), 16);
  }
}

/**
 * See the kernel's documentation; lengths are multiples of 32, an `out` of 0 is absent. Turns are the tables of
 * kernels/fft/wasm.ts. `scratch` holds five times the longest
 * length in floats, twenty times one of up to 1536, and 640 more. An item is rows.
 */
export function fourier_linears(
  x: usize,
  xStride: usize,
  slots: usize,
  records: usize,
  tables: usize,
  values: usize,
  y: usize,
  yStride: usize,
  inTurns: usize,
  turns0: usize,
  turns1: usize,
  turns2: usize,
  scratch: usize,
  inSize: usize,
  out0: usize,
  out1: usize,
  out2: usize,
  firstLinear: usize,
  capacity: usize,
  begin: usize,
  end: usize,
): void {
  const longer = max(max(inSize, out0), max(out1, out2)) << 2;
  const work = scratch, pair = work + 2048, other = pair + longer, spectrum = other + longer;
  const bins = spectrum + 2 * longer, apart = (longer >> 1) + 16;
  for (let r = begin; r < end; r++) {
    const slot = <usize> load<u32>(slots + (r << 2));
    if (slot >= capacity) continue;
    if (longer <= longestOfFour && r + 4 <= end && haveSlot(slots + (r << 2), slot)) {
      const from = x + ((r * xStride) << 2), into = y + ((r * yStride) << 2);
      const own = records + ((firstLinear * capacity + slot) << 4), apart = capacity << 4;
      fourRows(
        from,
        xStride,
        own,
        apart,
        tables,
        values,
        into,
        yStride,
        scratch,
        longer,
        inSize,
        inTurns,
        out0,
        turns0,
        out1,
        turns1,
        out2,
        turns2,
      );
      r += 3;
      continue;
    }
    let analysed = false, to = y + ((r * yStride) << 2);
    for (let i: usize = 0; i < 3; i++) {
      const out = i == 0 ? out0 : i == 1 ? out1 : out2;
      const record = records + (((firstLinear + i) * capacity + slot) << 4), at = to;
      to += out << 2;
      if (!out || !load<u32>(record, 8)) continue;
      if (!analysed) analyse(x + ((r * xStride) << 2), inSize >> 1, inTurns, pair, other, work, spectrum);
      analysed = true;
      const table = tables + (<usize> load<u32>(record) << 2);
      const coefficients = values + (<usize> load<u32>(record, 4) << 2);
      const turns = i == 0 ? turns0 : i == 1 ? turns1 : turns2;
      gather(spectrum, table, coefficients, out >> 1, bins, apart);
      synthesise(bins, apart, out >> 1, turns, pair, other, work, v128.load32_splat(record, 12), at);
    }
  }
}

/** Bytes of the longest row that is transformed beside three others: longer ones leave the first cache. */
const longestOfFour: usize = 1536 << 2;

/** Whether the three rows after one have its slot, too. */
function haveSlot(slots: usize, slot: usize): bool {
  return <usize> load<u32>(slots, 4) == slot && <usize> load<u32>(slots, 8) == slot &&
    <usize> load<u32>(slots, 12) == slot;
}

/** Rows whose spectra meet the coefficients together. */
const rowsTogether: usize = 4;

/** Rows whose products are added up by one thread: a sum has the same parts, however many threads there are. */
const rowsOfSum: usize = 64;

/**
 * Re SUM_rows G[u_e] X[v_e] of each 64 rows, in float64; lengths are multiples of 32. An item is 64 rows. `sums` holds `count`
 * numbers for each part, `spectra` eight times both lengths in floats, and `scratch` twice the longer length, and 512 more.
 */
export function fourier_sums(
  x: usize,
  dy: usize,
  frequencies: usize,
  inTurns: usize,
  outTurns: usize,
  sums: usize,
  spectra: usize,
  scratch: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  count: usize,
  begin: usize,
  end: usize,
): void {
  for (let part = begin; part < end; part++) {
    const first = part * rowsOfSum, held = min(rowsOfSum, rows - first), to = sums + ((part * count) << 3);
    const from = x + ((first * inSize) << 2), back = dy + ((first * outSize) << 2);
    sumRows(from, back, frequencies, inTurns, outTurns, to, spectra, scratch, held, inSize, outSize, count);
  }
}

function sumRows(
  x: usize,
  dy: usize,
  frequencies: usize,
  inTurns: usize,
  outTurns: usize,
  sums: usize,
  spectra: usize,
  scratch: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  count: usize,
): void {
  const longer = max(inSize, outSize) << 2, work = scratch, pair = work + 2048, other = pair + longer;
  const inBytes = inSize << 3, outBytes = outSize << 3, outSpectra = spectra + rowsTogether * inBytes;
  memory.fill(sums, 0, count << 3);
  for (let r: usize = 0; r < rows; r += rowsTogether) {
    const held = min(rowsTogether, rows - r);
    for (let i: usize = 0; i < held; i++) {
      const from = x + (((r + i) * inSize) << 2), back = dy + (((r + i) * outSize) << 2);
      analyse(from, inSize >> 1, inTurns, pair, other, work, spectra + i * inBytes);
      analyse(back, outSize >> 1, outTurns, pair, other, work, outSpectra + i * outBytes);
    }
    for (let e: usize = 0; e < count; e++) {
      const at = frequencies + (e << 3);
      let g = outSpectra + (<usize> load<u32>(at) << 3), p = spectra + (<usize> load<u32>(at, 4) << 3);
      let sum = f32x4.splat(0);
      for (let i: usize = 0; i < held; i++, g += outBytes, p += inBytes) {
        sum = multiplyAdd(sum, v128.load64_zero(g), v128.load64_zero(p));
      }
      const to = sums + (e << 3);
      store<f64>(to, load<f64>(to) + (<f64> f32x4.extract_lane(sum, 0) - <f64> f32x4.extract_lane(sum, 1)));
    }
  }
}

/** gradient[e] = or += scale times the sum of `parts` sums. An item is 64 coefficients. */
export function fourier_gradient(
  sums: usize,
  gradient: usize,
  parts: usize,
  count: usize,
  scale: f32,
  accumulate: bool,
  begin: usize,
  end: usize,
): void {
  for (let e = begin << 6; e < min(end << 6, count); e++) {
    const to = gradient + (e << 2), old: f64 = accumulate ? <f64> load<f32>(to) : 0;
    let sum: f64 = 0;
    for (let part: usize = 0; part < parts; part++) sum += load<f64>(sums + ((part * count + e) << 3));
    store<f32>(to, <f32> (old + <f64> scale * sum));
  }
}

/**
 * Rows of dW from a table whose destination is in, each with its mirror; see kernels/fourier_delta.ts. An item is a row p, from
 * `lowest` on: it writes row p of dW and row out - p, where the call has them. `phases` holds cos, sin (2 pi k / out) side by
 * side, k < out. `scratch` holds four rows, and 640 floats.
 */
export function fourier_delta(
  table: usize,
  values: usize,
  weight: usize,
  phases: usize,
  turns: usize,
  scratch: usize,
  outSize: usize,
  inSize: usize,
  scale: f32,
  accumulate: bool,
  first: usize,
  rows: usize,
  lowest: usize,
  begin: usize,
  end: usize,
): void {
  const line = inSize << 2, h = inSize >> 1, factor = f32x4.splat(scale);
  const work = scratch, pair = work + 2048, other = pair + line, row = other + line;
  const bins = row + line, apart = (line >> 1) + 16;
  for (let p = lowest + begin; p < lowest + end; p++) {
    const place = (p + outSize - first) % outSize, mirror = ((outSize << 1) - p - first) % outSize;
    gatherRow(phases, outSize, p, table, values, h, bins, apart);
    memory.fill(row, 0, line);
    synthesise(bins, apart, h, turns, pair, other, work, factor, row);
    if (place < rows) putRow(row, weight + place * line, line, accumulate);
    if (mirror < rows && mirror != place) putMirror(row, weight + mirror * line, line, accumulate);
  }
}

/** `gather` from the spectrum of a unit row: bin u is e^{2 pi i p u / length}. */
function gatherRow(
  phases: usize,
  length: usize,
  p: usize,
  table: usize,
  values: usize,
  h: usize,
  bins: usize,
  apart: usize,
): void {
  const sources = table + ((h + 2) << 2);
  let e: usize = 0;
  for (let k: usize = 0; k <= h; k++) {
    const end = <usize> load<u32>(table + (k << 2), 4) << 2;
    let sum = f32x4.splat(0);
    for (; e < end; e += 4) {
      const turn = <usize> (<u64> p * <u64> load<u32>(sources + e) % <u64> length);
      sum = multiplyAdd(sum, v128.load64_zero(phases + (turn << 3)), v128.load32_splat(values + e));
    }
    v128.store32_lane(bins + (k << 2), sum, 0);
    v128.store32_lane(bins + apart + (k << 2), sum, 1);
  }
}

/** A row of dW = or += a row. */
function putRow(row: usize, to: usize, line: usize, accumulate: bool): void {
  for (let i: usize = 0; i < line; i += 16) {
    const v = v128.load(row + i), at = to + i;
    v128.store(at, accumulate ? f32x4.add(v128.load(at), v) : v);
  }
}

/** The mirror's row of dW = or += a row: element q of one is element in - q of the other. */
function putMirror(row: usize, to: usize, line: usize, accumulate: bool): void {
  const first = load<f32>(row);
  store<f32>(to, accumulate ? load<f32>(to) + first : first);
  // Elements 1 to in - 1 in fours; the last three alone.
  let i: usize = 4;
  for (; i + 16 <= line; i += 16) {
    const v = reversed(v128.load(row + line - i - 12)), at = to + i;
    v128.store(at, accumulate ? f32x4.add(v128.load(at), v) : v);
  }
  for (; i < line; i += 4) {
    const value = load<f32>(row + line - i), at = to + i;
    store<f32>(at, accumulate ? load<f32>(at) + value : value);
  }
}

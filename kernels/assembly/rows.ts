// Kernels that take a row at a time. Strides are elements from row to row.
//
// Threads share a call: each runs the rows, or blocks of 64 elements, from `begin` to `end`.
import { widen } from "./bfloat16";
import { exp, loadTail, multiplyAdd, storeTail, sum } from "./lanes";

/** y[r] = x[r] / sqrt(mean of x[r]^2 + eps) * weight. */
export function rms_norm(
  x: usize,
  xStride: usize,
  weight: usize,
  y: usize,
  yStride: usize,
  dim: usize,
  eps: f64,
  begin: usize,
  end: usize,
): void {
  normalise(
    x + begin * (xStride << 2),
    xStride,
    weight,
    y + begin * (yStride << 2),
    yStride,
    end - begin,
    dim,
    eps,
  );
}

function normalise(
  x: usize,
  xStride: usize,
  weight: usize,
  y: usize,
  yStride: usize,
  rows: usize,
  dim: usize,
  eps: f64,
): void {
  const end = (dim & ~3) << 2, rest = dim & 3;
  for (let r: usize = 0; r < rows; r++) {
    const from = x + r * (xStride << 2), to = y + r * (yStride << 2);
    let squares = f32x4.splat(0);
    for (let i: usize = 0; i < end; i += 16) {
      const v = v128.load(from + i);
      squares = multiplyAdd(squares, v, v);
    }
    if (rest) {
      const v = loadTail(from + end, rest);
      squares = multiplyAdd(squares, v, v);
    }
    const all = sum(squares), root = Math.sqrt(<f64> all / <f64> dim + eps);
    const factor = f32x4.splat(all < Infinity ? <f32> (1.0 / root) : NaN);
    for (let i: usize = 0; i < end; i += 16) {
      v128.store(to + i, f32x4.mul(f32x4.mul(v128.load(from + i), factor), v128.load(weight + i)));
    }
    if (rest) {
      const v = f32x4.mul(f32x4.mul(loadTail(from + end, rest), factor), loadTail(weight + end, rest));
      storeTail(to + end, v, rest);
    }
  }
}

/** Normalises the first heads of each row, in place: qHeads of qDim elements by one weight, then kHeads of kDim. */
export function qk_norm(
  x: usize,
  stride: usize,
  qWeight: usize,
  kWeight: usize,
  qHeads: usize,
  qDim: usize,
  kHeads: usize,
  kDim: usize,
  eps: f64,
  begin: usize,
  end: usize,
): void {
  for (let r = begin; r < end; r++) {
    const q = x + ((r * stride) << 2), k = q + ((qHeads * qDim) << 2);
    normalise(q, qDim, qWeight, q, qDim, qHeads, qDim, eps);
    normalise(k, kDim, kWeight, k, kDim, kHeads, kDim, eps);
  }
}

/** dx[r] += f (weight dy[r] - x[r] f^2 mean of weight dy[r] x[r]), with f = 1 / sqrt(mean of x[r]^2 + eps). */
export function rms_norm_backward(
  dy: usize,
  x: usize,
  weight: usize,
  dx: usize,
  dim: usize,
  eps: f64,
  first: usize,
  behind: usize,
): void {
  const end = (dim & ~3) << 2, rest = dim & 3, line = dim << 2;
  dy += first * line;
  x += first * line;
  dx += first * line;
  for (let r = first; r < behind; r++, dy += line, x += line, dx += line) {
    let squares = f32x4.splat(0), products = squares;
    for (let i: usize = 0; i < end; i += 16) {
      const v = v128.load(x + i);
      squares = multiplyAdd(squares, v, v);
      products = multiplyAdd(products, v, f32x4.mul(v128.load(dy + i), v128.load(weight + i)));
    }
    if (rest) {
      const v = loadTail(x + end, rest);
      squares = multiplyAdd(squares, v, v);
      products = multiplyAdd(products, v, f32x4.mul(loadTail(dy + end, rest), loadTail(weight + end, rest)));
    }
    const factor = 1.0 / Math.sqrt(<f64> sum(squares) / <f64> dim + eps);
    const f = f32x4.splat(<f32> factor);
    const pull = f32x4.splat(<f32> (factor * factor * <f64> sum(products) / <f64> dim));
    for (let i: usize = 0; i < end; i += 16) {
      const slope = f32x4.mul(v128.load(dy + i), v128.load(weight + i));
      const v = f32x4.sub(slope, f32x4.mul(v128.load(x + i), pull));
      v128.store(dx + i, multiplyAdd(v128.load(dx + i), f, v));
    }
    if (rest) {
      const slope = f32x4.mul(loadTail(dy + end, rest), loadTail(weight + end, rest));
      const v = f32x4.sub(slope, f32x4.mul(loadTail(x + end, rest), pull));
      storeTail(dx + end, multiplyAdd(loadTail(dx + end, rest), f, v), rest);
    }
  }
}

/** The gradients of `silu_gate`; see the kernel's documentation. */
export function silu_gate_backward(
  dy: usize,
  gate: usize,
  up: usize,
  dgate: usize,
  dup: usize,
  count: usize,
  first: usize,
  behind: usize,
): void {
  const skipped = first << 8;
  dy += skipped;
  gate += skipped;
  up += skipped;
  dgate += skipped;
  dup += skipped;
  count = min(behind << 6, count) - (first << 6);
  const one = f32x4.splat(1), end = (count & ~3) << 2, rest = count & 3;
  for (let i: usize = 0; i < end; i += 16) {
    const d = v128.load(dy + i),
      g = v128.load(gate + i),
      s = f32x4.div(one, f32x4.add(one, exp(f32x4.neg(g))));
    const slope = f32x4.mul(s, f32x4.add(one, f32x4.mul(g, f32x4.sub(one, s))));
    v128.store(dgate + i, f32x4.mul(f32x4.mul(d, v128.load(up + i)), slope));
    v128.store(dup + i, f32x4.mul(d, f32x4.mul(g, s)));
  }
  if (!rest) return;
  const d = loadTail(dy + end, rest), g = loadTail(gate + end, rest);
  const s = f32x4.div(one, f32x4.add(one, exp(f32x4.neg(g))));
  const slope = f32x4.mul(s, f32x4.add(one, f32x4.mul(g, f32x4.sub(one, s))));
  storeTail(dgate + end, f32x4.mul(f32x4.mul(d, loadTail(up + end, rest)), slope), rest);
  storeTail(dup + end, f32x4.mul(d, f32x4.mul(g, s)), rest);
}

/** y[i] = gate[i] / (1 + e^-gate[i]) * up[i]. */
export function silu_gate(gate: usize, up: usize, y: usize, count: usize, begin: usize, end: usize): void {
  const skipped = begin << 8, held = min(end << 6, count) - (begin << 6);
  siluGateRows(gate + skipped, 0, up + skipped, 0, y + skipped, 0, 1, held);
}

/** The same of rows with strides. */
function siluGateRows(
  gate: usize,
  gateStride: usize,
  up: usize,
  upStride: usize,
  y: usize,
  yStride: usize,
  rows: usize,
  dim: usize,
): void {
  const end = (dim & ~3) << 2, rest = dim & 3;
  for (let r: usize = 0; r < rows; r++) {
    const g = gate + r * (gateStride << 2), u = up + r * (upStride << 2), to = y + r * (yStride << 2);
    for (let i: usize = 0; i < end; i += 16) {
      v128.store(to + i, f32x4.mul(silu(v128.load(g + i)), v128.load(u + i)));
    }
    if (rest) storeTail(to + end, f32x4.mul(silu(loadTail(g + end, rest)), loadTail(u + end, rest)), rest);
  }
}

/** The same of gate and up side by side in rows of 2 dim. */
export function silu_gate_up(gateUp: usize, y: usize, dim: usize, begin: usize, end: usize): void {
  const from = gateUp + ((begin * 2 * dim) << 2), to = y + ((begin * dim) << 2);
  siluGateRows(from, 2 * dim, from + (dim << 2), 2 * dim, to, dim, end - begin, dim);
}

function silu(g: v128): v128 {
  return f32x4.div(g, f32x4.add(f32x4.splat(1), exp(f32x4.neg(g))));
}

/** exp(-x^2 / 2). */
function bellOf(x: v128): v128 {
  return exp(f32x4.mul(f32x4.splat(-0.5), f32x4.mul(x, x)));
}

/** The normal distribution's part below x, by Abramowitz and Stegun 7.1.26 as on a GPU; `bell` is exp(-x^2 / 2). */
function below(x: v128, bell: v128): v128 {
  const one = f32x4.splat(1), half = f32x4.splat(0.5);
  const slope = f32x4.splat(0.23164189); // 0.3275911 / sqrt(2)
  const t = f32x4.div(one, f32x4.add(one, f32x4.mul(slope, f32x4.abs(x))));
  let poly = f32x4.splat(1.061405429);
  poly = multiplyAdd(f32x4.splat(-1.453152027), t, poly);
  poly = multiplyAdd(f32x4.splat(1.421413741), t, poly);
  poly = multiplyAdd(f32x4.splat(-0.284496736), t, poly);
  poly = multiplyAdd(f32x4.splat(0.254829592), t, poly);
  const tail = f32x4.mul(f32x4.mul(half, f32x4.mul(t, poly)), bell);
  return v128.bitselect(f32x4.sub(one, tail), tail, f32x4.ge(x, f32x4.splat(0)));
}

function geluOf(x: v128): v128 {
  return f32x4.mul(x, below(x, bellOf(x)));
}

/** y[i] = x[i] times the normal distribution's part below x[i]. An item is 64 elements. */
export function gelu(x: usize, y: usize, count: usize, first: usize, behind: usize): void {
  x += first << 8;
  y += first << 8;
  count = min(behind << 6, count) - (first << 6);
  const end = (count & ~3) << 2, rest = count & 3;
  for (let i: usize = 0; i < end; i += 16) v128.store(y + i, geluOf(v128.load(x + i)));
  if (rest) storeTail(y + end, geluOf(loadTail(x + end, rest)), rest);
}

/** What dy is multiplied by: the part below x, and x times the density, whose top is 1 / sqrt(2 pi). */
function geluSlope(x: v128): v128 {
  const bell = bellOf(x);
  return multiplyAdd(below(x, bell), f32x4.mul(x, bell), f32x4.splat(0.3989422804));
}

/** The gradient of `gelu`. An item is 64 elements. */
export function gelu_backward(
  dy: usize,
  x: usize,
  dx: usize,
  count: usize,
  first: usize,
  behind: usize,
): void {
  dy += first << 8;
  x += first << 8;
  dx += first << 8;
  count = min(behind << 6, count) - (first << 6);
  const end = (count & ~3) << 2, rest = count & 3;
  for (let i: usize = 0; i < end; i += 16) {
    v128.store(dx + i, f32x4.mul(v128.load(dy + i), geluSlope(v128.load(x + i))));
  }
  if (rest) {
    storeTail(dx + end, f32x4.mul(loadTail(dy + end, rest), geluSlope(loadTail(x + end, rest))), rest);
  }
}

/** Turns the pairs (x[i], x[i + rotaryDim / 2]) of each head by table[positions[r], i]: cosine, sine. */
export function rope(
  x: usize,
  xStride: usize,
  table: usize,
  positions: usize,
  heads: usize,
  headDim: usize,
  rotaryDim: usize,
  begin: usize,
  end: usize,
): void {
  for (let r = begin; r < end; r++) {
    turn(x + ((r * xStride) << 2), turnOf(table, positions, r, rotaryDim), heads, headDim, rotaryDim, 1);
  }
}

/** Turns the gradients of turned heads back. */
export function rope_backward(
  dx: usize,
  table: usize,
  positions: usize,
  heads: usize,
  headDim: usize,
  rotaryDim: usize,
  begin: usize,
  end: usize,
): void {
  for (let r = begin; r < end; r++) {
    const by = turnOf(table, positions, r, rotaryDim);
    turn(dx + ((r * heads * headDim) << 2), by, heads, headDim, rotaryDim, -1);
  }
}

/** The cosines and sines of row r's position. */
export function turnOf(table: usize, positions: usize, r: usize, rotaryDim: usize): usize {
  return table + (<usize> load<u32>(positions + (r << 2)) * rotaryDim << 2);
}

/** Turns heads that stand one after the other by one position's cosines and sines; with `sign` -1 back. */
export function turn(
  heads: usize,
  by: usize,
  count: usize,
  headDim: usize,
  rotaryDim: usize,
  sign: f32,
): void {
  const half = rotaryDim >> 1, vectors = half & ~3, signs = f32x4.splat(sign);
  for (let head: usize = 0; head < count; head++) {
    const at = heads + ((head * headDim) << 2), opposite = at + (half << 2);
    for (let i: usize = 0; i < vectors; i += 4) {
      const t = v128.load(by + (i << 3)), u = v128.load(by + (i << 3), 16);
      const cos = i32x4.shuffle(t, u, 0, 2, 4, 6), sin = f32x4.mul(signs, i32x4.shuffle(t, u, 1, 3, 5, 7));
      const a = v128.load(at + (i << 2)), b = v128.load(opposite + (i << 2));
      v128.store(at + (i << 2), f32x4.sub(f32x4.mul(a, cos), f32x4.mul(b, sin)));
      v128.store(opposite + (i << 2), f32x4.add(f32x4.mul(b, cos), f32x4.mul(a, sin)));
    }
    for (let i = vectors; i < half; i++) {
      const cos = load<f32>(by + (i << 3)), sin = sign * load<f32>(by + (i << 3), 4);
      const a = load<f32>(at + (i << 2)), b = load<f32>(opposite + (i << 2));
      store<f32>(at + (i << 2), a * cos - b * sin);
      store<f32>(opposite + (i << 2), b * cos + a * sin);
    }
  }
}

/** Turns query heads in place; puts key heads, turned, and value heads where `index` says, or nowhere. */
export function rope_cache(
  qkv: usize,
  qkvStride: usize,
  table: usize,
  positions: usize,
  index: usize,
  keys: usize,
  values: usize,
  heads: usize,
  kvHeads: usize,
  headDim: usize,
  rotaryDim: usize,
  cacheRows: u32,
  begin: usize,
  end: usize,
): void {
  const width = (kvHeads * headDim) << 2;
  for (let r = begin; r < end; r++) {
    const from = qkv + ((r * qkvStride) << 2), by = turnOf(table, positions, r, rotaryDim);
    turn(from, by, heads, headDim, rotaryDim, 1);
    const place = load<u32>(index + (r << 2));
    if (place >= cacheRows) continue;
    const key = from + ((heads * headDim) << 2), to = keys + <usize> place * width;
    memory.copy(to, key, width);
    turn(to, by, kvHeads, headDim, rotaryDim, 1);
    memory.copy(values + <usize> place * width, key + width, width);
  }
}

/** y[r] = weight[ids[r]]; an id of `vocab` or more gives zeros. `bits` of the weight are 32, or 16 for bfloat16. */
export function embedding(
  ids: usize,
  weight: usize,
  bits: u32,
  y: usize,
  yStride: usize,
  dim: usize,
  vocab: u32,
  begin: usize,
  end: usize,
): void {
  for (let r = begin; r < end; r++) {
    const id = load<u32>(ids + (r << 2)), to = y + r * (yStride << 2);
    if (id >= vocab) memory.fill(to, 0, dim << 2);
    else if (bits == 32) memory.copy(to, weight + <usize> id * (dim << 2), dim << 2);
    else widen(weight + <usize> id * (dim << 1), dim, to);
  }
}

/** y += x, `count` elements. */
export function add(x: usize, y: usize, count: usize, first: usize, behind: usize): void {
  x += first << 8;
  y += first << 8;
  count = min(behind << 6, count) - (first << 6);
  const end = (count & ~3) << 2, rest = count & 3;
  for (let i: usize = 0; i < end; i += 16) {
    v128.store(y + i, f32x4.add(v128.load(y + i), v128.load(x + i)));
  }
  if (rest) storeTail(y + end, f32x4.add(loadTail(y + end, rest), loadTail(x + end, rest)), rest);
}

/** y[i] = value, `count` elements. */
export function fill(y: usize, count: usize, value: f32, first: usize, behind: usize): void {
  y += first << 8;
  count = min(behind << 6, count) - (first << 6);
  const end = (count & ~3) << 2, all = count << 2, v = f32x4.splat(value);
  for (let i: usize = 0; i < end; i += 16) v128.store(y + i, v);
  for (let i = end; i < all; i += 4) store<f32>(y + i, value);
}

/** y[r, c] = x[r, c] + t[c, r], in tiles of 32 columns: what they read across t's rows is used while it is in the cache. */
export function add_transposed(
  x: usize,
  t: usize,
  y: usize,
  rows: usize,
  cols: usize,
  first: usize,
  behind: usize,
): void {
  const line = cols << 2, column = rows << 2;
  for (let begin: usize = first << 5; begin < min(behind << 5, cols); begin += 32) {
    const end = min(begin + 32, cols), whole = begin + ((end - begin) & ~3);
    for (let r: usize = 0; r < rows; r += 4) {
      const block = r + 4 <= rows ? whole : begin;
      for (let c = begin; c < block; c += 4) {
        const from = t + c * column + (r << 2);
        const t0 = v128.load(from), t1 = v128.load(from + column);
        const t2 = v128.load(from + 2 * column), t3 = v128.load(from + 3 * column);
        const a = i32x4.shuffle(t0, t1, 0, 4, 1, 5), b = i32x4.shuffle(t2, t3, 0, 4, 1, 5);
        const d = i32x4.shuffle(t0, t1, 2, 6, 3, 7), e = i32x4.shuffle(t2, t3, 2, 6, 3, 7);
        const at = r * line + (c << 2);
        add4(x, y, at, i32x4.shuffle(a, b, 0, 1, 4, 5));
        add4(x, y, at + line, i32x4.shuffle(a, b, 2, 3, 6, 7));
        add4(x, y, at + 2 * line, i32x4.shuffle(d, e, 0, 1, 4, 5));
        add4(x, y, at + 3 * line, i32x4.shuffle(d, e, 2, 3, 6, 7));
      }
      for (let row = r; row < min(r + 4, rows); row++) {
        for (let c = block; c < end; c++) {
          const at = row * line + (c << 2);
          store<f32>(y + at, load<f32>(x + at) + load<f32>(t + c * column + (row << 2)));
        }
      }
    }
  }
}

function add4(x: usize, y: usize, at: usize, v: v128): void {
  v128.store(y + at, f32x4.add(v128.load(x + at), v));
}

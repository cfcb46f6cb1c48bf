// Products summed along the rows of a matrix: dx = dy W, and the gradients of weights.
//
// The matrix is turned a panel at a time, so that sums run along the panel's lines and tiles.ts has the product. A panel
// has 96 columns, which are whole blocks of quantised weights and whole tiles, and 512 rows.
import { widen } from "./bfloat16";
import { loadTail, multiplyAdd, storeTail } from "./lanes";
import { unpack } from "./quantized";
import { panelProduct } from "./tiles";

const panelColumns: usize = 96;
const panelRows: usize = 512;

/** Up to this inner length each lane is a column. */
export const shortest: usize = 32;

/** Bytes of a panel's line of four rows before they are turned. */
const rowBytes: usize = panelColumns << 2;

/** Four columns of four rows, or up to `count` columns, turned: `line` bytes from one column to the next. */
function turnFour(a: v128, b: v128, c: v128, d: v128, to: usize, line: usize, count: usize): void {
  const p = i32x4.shuffle(a, b, 0, 4, 1, 5), q = i32x4.shuffle(c, d, 0, 4, 1, 5);
  v128.store(to, i64x2.shuffle(p, q, 0, 2));
  if (count == 1) return;
  v128.store(to + line, i64x2.shuffle(p, q, 1, 3));
  if (count == 2) return;
  const r = i32x4.shuffle(a, b, 2, 6, 3, 7), s = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(to + 2 * line, i64x2.shuffle(r, s, 0, 2));
  if (count == 3) return;
  v128.store(to + 3 * line, i64x2.shuffle(r, s, 1, 3));
}

/** `count` columns of four rows, turned. */
function turnRows(a: usize, b: usize, c: usize, d: usize, to: usize, line: usize, count: usize): void {
  const whole = count & ~3, rest = count & 3;
  for (let i: usize = 0; i < whole; i += 4) {
    const at = i << 2;
    turnFour(
      v128.load(a + at),
      v128.load(b + at),
      v128.load(c + at),
      v128.load(d + at),
      to + i * line,
      line,
      4,
    );
  }
  if (!rest) return;
  const at = whole << 2;
  const u = loadTail(a + at, rest), v = loadTail(b + at, rest), w = loadTail(c + at, rest);
  turnFour(u, v, w, loadTail(d + at, rest), to + whole * line, line, rest);
}

/** The line of a turned matrix in bytes: filled up with zeros to a multiple of four. */
export function turnedLine(rows: usize): usize {
  return ((rows + 3) & ~3) << 2;
}

/**
 * A matrix of floats (rows, columns), turned. `turned` holds its lines, and then as many floats as a row, which are zero. An item
 * is four rows.
 */
export function turn(
  from: usize,
  offset: usize,
  turned: usize,
  rows: usize,
  columns: usize,
  begin: usize,
  end: usize,
): void {
  const line = turnedLine(rows), zeros = turned + columns * line;
  // Only the last rows need zeros.
  if (end << 2 > rows) memory.fill(zeros, 0, columns << 2);
  const first = begin << 2, held = min(end << 2, rows) - first;
  turnInto(from + ((offset + first * columns) << 2), held, columns, turned + (first << 2), line, zeros);
}

function turnInto(from: usize, rows: usize, columns: usize, to: usize, line: usize, zeros: usize): void {
  const width = columns << 2;
  for (let r: usize = 0; r < rows; r += 4) {
    const a = from + r * width, left = rows - r;
    const b = left > 1 ? a + width : zeros,
      c = left > 2 ? b + width : zeros,
      d = left > 3 ? c + width : zeros;
    turnRows(a, b, c, d, to + (r << 2), line, columns);
  }
}

/** Row `r` of a weight from a multiple of 96 columns on, as floats; bfloat16 and blocks are widened to `room`. */
function rowOf(
  weight: usize,
  scales: usize,
  bits: u32,
  columns: usize,
  r: usize,
  begin: usize,
  count: usize,
  room: usize,
): usize {
  const at = r * columns + begin;
  if (bits == 32) return weight + (at << 2);
  if (bits == 16) {
    widen(weight + (at << 1), count, room);
    return room;
  }
  const blocks = (columns + 31) >> 5, first = r * blocks + (begin >> 5);
  unpack(weight + first * (<usize> bits << 2), scales + (first << 2), (count + 31) >> 5, bits, room);
  return room;
}

/** y = or += factor times a sum; of the last columns the first `count` alone. */
function put(y: usize, total: v128, factor: v128, accumulate: bool, count: usize): void {
  const whole = count >= 4, old = !accumulate ? f32x4.splat(0) : whole ? v128.load(y) : loadTail(y, count);
  const value = multiplyAdd(old, factor, total);
  if (whole) v128.store(y, value);
  else storeTail(y, value, count);
}

/**
 * y (rows, columns) = or += factor x (rows, inner) w (inner, columns) of a short inner length, so that sums across lanes would
 * take the time: each lane is a column. Strides are bytes.
 */
export function shortProduct(
  x: usize,
  xStride: usize,
  w: usize,
  line: usize,
  y: usize,
  yStride: usize,
  rows: usize,
  inner: usize,
  columns: usize,
  factor: f32,
  accumulate: bool,
): void {
  const end = inner << 2, by = f32x4.splat(factor);
  for (let r: usize = 0; r < rows; r += 3, x += 3 * xStride, y += 3 * yStride) {
    // Rows that are not there are computed and left.
    const held = rows - r, x1 = held > 1 ? x + xStride : x, x2 = held > 2 ? x1 + xStride : x1;
    let i: usize = 0;
    for (; i + 8 <= columns; i += 8) {
      let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, from = w + (i << 2);
      for (let k: usize = 0; k < end; k += 4, from += line) {
        const p = v128.load(from), q = v128.load(from, 16);
        const u = v128.load32_splat(x + k), v = v128.load32_splat(x1 + k), t = v128.load32_splat(x2 + k);
        a = multiplyAdd(a, u, p);
        b = multiplyAdd(b, u, q);
        c = multiplyAdd(c, v, p);
        d = multiplyAdd(d, v, q);
        e = multiplyAdd(e, t, p);
        f = multiplyAdd(f, t, q);
      }
      const to = y + (i << 2);
      put(to, a, by, accumulate, 4);
      put(to + 16, b, by, accumulate, 4);
      if (held > 1) {
        put(to + yStride, c, by, accumulate, 4);
        put(to + yStride + 16, d, by, accumulate, 4);
      }
      if (held > 2) {
        put(to + 2 * yStride, e, by, accumulate, 4);
        put(to + 2 * yStride + 16, f, by, accumulate, 4);
      }
    }
    for (; i < columns; i += 4) {
      const count = min(columns - i, <usize> 4), to = y + (i << 2);
      let a = f32x4.splat(0), c = a, e = a, from = w + (i << 2);
      for (let k: usize = 0; k < end; k += 4, from += line) {
        const p = count == 4 ? v128.load(from) : loadTail(from, count);
        a = multiplyAdd(a, v128.load32_splat(x + k), p);
        c = multiplyAdd(c, v128.load32_splat(x1 + k), p);
        e = multiplyAdd(e, v128.load32_splat(x2 + k), p);
      }
      put(to, a, by, accumulate, count);
      if (held > 1) put(to + yStride, c, by, accumulate, count);
      if (held > 2) put(to + 2 * yStride, e, by, accumulate, count);
    }
  }
}

/**
 * All of a product; see `transposedItems`.
 */
export function transposedProduct(
  x: usize,
  xStride: usize,
  weight: usize,
  bits: u32,
  y: usize,
  yStride: usize,
  scratch: usize,
  rows: usize,
  inner: usize,
  columns: usize,
  factor: f32,
  accumulate: bool,
): void {
  const items = bits == 32 && inner <= shortest ? 1 : (columns + panelColumns - 1) / panelColumns;
  transposedItems(
    x,
    xStride,
    weight,
    0,
    bits,
    y,
    yStride,
    scratch,
    rows,
    inner,
    columns,
    factor,
    accumulate,
    rows,
    0,
    items,
  );
}

/**
 * y (rows, columns) = or += factor x (rows, inner) weight (inner, columns): floats with `bits` 32, bfloat16 with 16, else blocks. Strides are
 * bytes. `scratch` holds 384 bytes five times, and then 96 lines of 512 floats, or of as many as there are.
 *
 * An item is `rowsOfItem` rows of 96 columns, or of all columns where the inner length is short; items of the same rows stand
 * one after the other.
 */
export function transposedItems(
  x: usize,
  xStride: usize,
  weight: usize,
  scales: usize,
  bits: u32,
  y: usize,
  yStride: usize,
  scratch: usize,
  rows: usize,
  inner: usize,
  columns: usize,
  factor: f32,
  accumulate: bool,
  rowsOfItem: usize,
  begin: usize,
  end: usize,
): void {
  const short = bits == 32 && inner <= shortest,
    panels = short ? 1 : (columns + panelColumns - 1) / panelColumns;
  for (let item = begin; item < end; item++) {
    const r = item / panels * rowsOfItem, held = min(rowsOfItem, rows - r);
    const from = x + r * xStride, to = y + r * yStride;
    if (short) {
      shortProduct(
        from,
        xStride,
        weight,
        columns << 2,
        to,
        yStride,
        held,
        inner,
        columns,
        factor,
        accumulate,
      );
    } else {
      const column = item % panels * panelColumns;
      transposedPanel(
        from,
        xStride,
        weight,
        scales,
        bits,
        to,
        yStride,
        scratch,
        held,
        inner,
        columns,
        column,
        factor,
        accumulate,
      );
    }
  }
}

/** Up to 96 columns of a product. */
function transposedPanel(
  x: usize,
  xStride: usize,
  weight: usize,
  scales: usize,
  bits: u32,
  y: usize,
  yStride: usize,
  scratch: usize,
  rows: usize,
  inner: usize,
  columns: usize,
  begin: usize,
  factor: f32,
  accumulate: bool,
): void {
  const count = min(panelColumns, columns - begin), to = y + (begin << 2);
  const zeros = scratch, room = zeros + rowBytes, panel = room + 4 * rowBytes;
  memory.fill(zeros, 0, rowBytes);
  for (let k: usize = 0; k < inner; k += panelRows) {
    const depth = min(panelRows, inner - k), line = ((depth + 3) & ~3) << 2;
    for (let i: usize = 0; i < depth; i += 4) {
      const r = k + i, left = depth - i;
      const a = rowOf(weight, scales, bits, columns, r, begin, count, room);
      const b = left > 1 ? rowOf(weight, scales, bits, columns, r + 1, begin, count, room + rowBytes) : zeros;
      const c = left > 2
        ? rowOf(weight, scales, bits, columns, r + 2, begin, count, room + 2 * rowBytes)
        : zeros;
      const d = left > 3
        ? rowOf(weight, scales, bits, columns, r + 3, begin, count, room + 3 * rowBytes)
        : zeros;
      turnRows(a, b, c, d, panel + (i << 2), line, count);
    }
    const from = x + (k << 2), add = accumulate || k > 0;
    panelProduct(from, xStride, rows, panel, line, depth, count, to, yStride, factor, add);
  }
}

/** dx = or += dy W of a weight (outSize, inSize); see `transposedItems`. */
export function linear_transposed(
  dy: usize,
  weight: usize,
  scales: usize,
  bits: u32,
  dx: usize,
  scratch: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  accumulate: bool,
  rowsOfItem: usize,
  begin: usize,
  end: usize,
): void {
  transposedItems(
    dy,
    outSize << 2,
    weight,
    scales,
    bits,
    dx,
    inSize << 2,
    scratch,
    rows,
    outSize,
    inSize,
    1,
    accumulate,
    rowsOfItem,
    begin,
    end,
  );
}

/** gradient[offset..] += scale dy^T x, of dy turned; see `transposedItems`. */
export function weight_gradient(
  turned: usize,
  x: usize,
  gradient: usize,
  scratch: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  offset: usize,
  scale: f32,
  rowsOfItem: usize,
  begin: usize,
  end: usize,
): void {
  transposedItems(
    turned,
    turnedLine(rows),
    x,
    0,
    32,
    gradient + (offset << 2),
    inSize << 2,
    scratch,
    outSize,
    rows,
    inSize,
    scale,
    true,
    rowsOfItem,
    begin,
    end,
  );
}

// y += scale kron(W1, W2) x, each row with its own adapter: a whole matrix where W1 is one number.
//
// A line of W2 has an output for each line of W1. The lines are dealt out to the parts of the work, so that no part makes a
// dot product of another.
import { addLines, lines } from "./lora";
import { wholeLinear } from "./linear";
import { recordOf } from "./svft";

/** Rows of one adapter that meet a whole matrix together. */
const together: usize = 8;

/** Outputs of such rows that are made before they are added to y, where the rows are no neighbours. */
const outputs: usize = 64;

/** Dot products of a row that stand in scratch, unless W1 has more columns. */
const dots: usize = 4096;

/**
 * See the kernel's documentation. `scratch` holds eight rows of x and 512 floats, and at least 4096 floats. An item is a column
 * of y: a line of W2 belongs to the part that has the column of its number times the lines of W1.
 */
export function kron_linear(
  x: usize,
  slots: usize,
  records: usize,
  tables: usize,
  values: usize,
  y: usize,
  yStride: usize,
  scratch: usize,
  rows: usize,
  inSize: usize,
  out0: usize,
  out1: usize,
  out2: usize,
  first: usize,
  capacity: usize,
  begin: usize,
  end: usize,
): void {
  let at: usize = 0;
  for (let i: usize = 0; i < 3; i++) {
    const out = i == 0 ? out0 : i == 1 ? out1 : out2, own = records + (((first + i) * capacity) << 4);
    const from = min(max(begin, at), at + out) - at, to = min(max(end, at), at + out) - at;
    for (let r: usize = 0; from < to && r < rows; r++) {
      const record = recordOf(slots, own, r, capacity);
      if (!record || !load<u32>(record, 8)) continue;
      const table = tables + (<usize> load<u32>(record) << 2);
      const leftOut = <usize> load<u32>(table), leftIn = <usize> load<u32>(table, 4);
      const left = values + (<usize> load<u32>(record, 4) << 2), right = left + ((leftOut * leftIn) << 2);
      const scale = load<f32>(record, 12);
      if (leftOut == 1 && leftIn == 1) {
        // The first row of an adapter takes all of its rows.
        if (isFirst(slots, r)) {
          const factor = scale * load<f32>(left), weight = right + ((from * inSize) << 2);
          addWhole(
            x,
            slots,
            r,
            weight,
            factor,
            y + ((at + from) << 2),
            yStride,
            scratch,
            rows,
            inSize,
            to - from,
          );
        }
      } else {
        const rightOut = out / leftOut, p = (from + leftOut - 1) / leftOut, q = (to + leftOut - 1) / leftOut;
        const row = x + ((r * inSize) << 2), sums = y + ((r * yStride + at) << 2);
        addProduct(row, left, leftOut, leftIn, right, rightOut, scale, sums, scratch, inSize, p, q);
      }
    }
    at += out;
  }
}

/** Whether no row before has the slot of a row. */
function isFirst(slots: usize, row: usize): bool {
  const slot = load<u32>(slots + (row << 2));
  for (let r: usize = 0; r < row; r++) if (load<u32>(slots + (r << 2)) == slot) return false;
  return true;
}

/** y += factor x W^T of the rows from `row` on that have its slot, some at a time. */
function addWhole(
  x: usize,
  slots: usize,
  row: usize,
  weight: usize,
  factor: f32,
  y: usize,
  yStride: usize,
  scratch: usize,
  rows: usize,
  inSize: usize,
  out: usize,
): void {
  const slot = load<u32>(slots + (row << 2)), made = scratch + ((together * inSize) << 2);
  let next = row;
  while (next < rows) {
    const start = next;
    let held: usize = 0, last = start;
    for (; next < rows && held < together; next++) {
      if (load<u32>(slots + (next << 2)) != slot) continue;
      scaled(x + ((next * inSize) << 2), factor, scratch + ((held++ * inSize) << 2), inSize);
      last = next;
    }
    if (!held) return;
    if (last - start + 1 == held) {
      wholeLinear(
        scratch,
        inSize,
        weight,
        inSize,
        y + ((start * yStride) << 2),
        yStride,
        held,
        inSize,
        out,
        true,
      );
      continue;
    }
    for (let o: usize = 0; o < out; o += outputs) {
      const count = min(outputs, out - o);
      wholeLinear(
        scratch,
        inSize,
        weight + ((o * inSize) << 2),
        inSize,
        made,
        count,
        held,
        inSize,
        count,
        false,
      );
      let sums = made;
      for (let r = start; r <= last; r++) {
        if (load<u32>(slots + (r << 2)) != slot) continue;
        add(sums, y + ((r * yStride + o) << 2), count);
        sums += count << 2;
      }
    }
  }
}

/** to = factor times a row. */
function scaled(from: usize, factor: f32, to: usize, count: usize): void {
  let i: usize = 0;
  const by = f32x4.splat(factor), whole = (count & ~3) << 2, end = count << 2;
  for (; i < whole; i += 16) v128.store(to + i, f32x4.mul(v128.load(from + i), by));
  for (; i < end; i += 4) store<f32>(to + i, factor * load<f32>(from + i));
}

/** to += a row. */
function add(from: usize, to: usize, count: usize): void {
  let i: usize = 0;
  const whole = (count & ~3) << 2, end = count << 2;
  for (; i < whole; i += 16) v128.store(to + i, f32x4.add(v128.load(to + i), v128.load(from + i)));
  for (; i < end; i += 4) store<f32>(to + i, load<f32>(to + i) + load<f32>(from + i));
}

/** y += scale kron(W1, W2) x of one row, by lines `begin` to `end` of W2. */
function addProduct(
  x: usize,
  left: usize,
  leftOut: usize,
  leftIn: usize,
  right: usize,
  rightOut: usize,
  scale: f32,
  y: usize,
  scratch: usize,
  inSize: usize,
  begin: usize,
  end: usize,
): void {
  const rightIn = inSize / leftIn, most = max(dots / leftIn, <usize> 1);
  for (let p = begin; p < end; p += most) {
    const count = min(most, end - p), weight = right + ((p * rightIn) << 2);
    // A row of x is leftIn rows of W2's.
    wholeLinear(x, rightIn, weight, rightIn, scratch, count, leftIn, rightIn, count, false);
    scaled(scratch, scale, scratch, leftIn * count);
    for (let i: usize = 0; i < leftOut; i++) {
      const to = y + ((i * rightOut + p) << 2), factors = left + ((i * leftIn) << 2);
      for (let j: usize = 0; j < leftIn; j += lines) {
        const from = scratch + ((j * count) << 2);
        addLines(factors + (j << 2), from, count << 2, to, min(lines, leftIn - j), count);
      }
    }
  }
}

// y += scale Big Small x, transposed where in is above out: bases that adapters share, each row's own lambda and gamma.
//
// Small[k, q] = lambda[k] A[k div n, q] gamma[k mod n, q] is never built: gamma goes to x or to y, lambda to the numbers
// between. Those stand in scratch, for each row and linear in turn. A part of the work has some columns of them, or of y.
import { loadTail, multiplyAdd, storeTail } from "./lanes";
import { addLines, lines } from "./lora";
import { wholeLinear } from "./linear";
import { recordOf } from "./svft";

/** Vectors x * gamma at a time. */
const together: usize = 8;

/** Products of such a vector with lines of A at a time; numbers between that are gathered at a time. */
const chunk: usize = 64;

/** Numbers between the factors at most: ceil(min / r) r of them, with r at most min. */
function most(inSize: usize, out: usize): usize {
  return min(inSize, out) << 1;
}

/** Where a record's bases are: r, columns of A, N, rows of B; A; B. */
function rankOf(table: usize): usize {
  return <usize> load<u32>(table);
}
function wideOf(table: usize): usize {
  return <usize> load<u32>(table, 4);
}
/** Bytes of a line of B. */
function lineOf(table: usize): usize {
  return (<usize> load<u32>(table, 8) * rankOf(table)) << 2;
}
function largeOf(table: usize): usize {
  return table + 16 + ((rankOf(table) * wideOf(table)) << 2);
}

/**
 * The numbers between, times lambda and scale. `between` has a row of them for each row of x; `scratch` holds eight rows of x, and
 * 512 floats. An item is a column of `between`.
 */
export function randlora_down(
  x: usize,
  slots: usize,
  records: usize,
  tables: usize,
  values: usize,
  between: usize,
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
  const width = most(inSize, out0) + most(inSize, out1) + most(inSize, out2);
  let at: usize = 0;
  for (let i: usize = 0; i < 3; i++) {
    const out = i == 0 ? out0 : i == 1 ? out1 : out2, own = records + (((first + i) * capacity) << 4);
    const size = most(inSize, out);
    const partBegin = min(max(begin, at), at + size) - at, partEnd = min(max(end, at), at + size) - at;
    let row: usize = 0;
    while (partBegin < partEnd && row < rows) {
      const record = recordOf(slots, own, row, capacity);
      if (!record || !load<u32>(record, 8)) {
        row++;
        continue;
      }
      const next = endOfRun(slots, own, row, rows, capacity), count = next - row;
      const table = tables + (<usize> load<u32>(record) << 2);
      const n = (min(inSize, out) + rankOf(table) - 1) / rankOf(table);
      // A line of A makes n numbers: the part that has the first makes all.
      const whole: usize = inSize > out ? 1 : n;
      const from = (partBegin + whole - 1) / whole * whole;
      const to = min((partEnd + whole - 1) / whole * whole, n * rankOf(table));
      const into = between + ((row * width + at) << 2), rowsOfX = x + ((row * inSize) << 2);
      if (from < to && inSize > out) {
        sumLines(rowsOfX, inSize, largeOf(table), lineOf(table), into, width, count, from, to);
      }
      for (let r: usize = 0; from < to && r < count; r++) {
        const mine = recordOf(slots, own, row + r, capacity), scale = load<f32>(mine, 12);
        const lambda = values + (<usize> load<u32>(mine, 4) << 2),
          gamma = lambda + ((n * rankOf(table)) << 2);
        const sums = into + ((r * width) << 2);
        if (inSize <= out) {
          smallProducts(
            rowsOfX + ((r * inSize) << 2),
            gamma,
            table,
            sums,
            scratch,
            inSize,
            n,
            from / n,
            to / n,
          );
        }
        for (let k = from; k < to; k++) {
          const place = sums + (k << 2);
          store<f32>(place, scale * load<f32>(lambda + (k << 2)) * load<f32>(place));
        }
      }
      row = next;
    }
    at += size;
  }
}

/** The end of the rows from `row` on that have the same bases. */
function endOfRun(slots: usize, records: usize, row: usize, rows: usize, capacity: usize): usize {
  const table = load<u32>(recordOf(slots, records, row, capacity));
  let next = row + 1;
  for (; next < rows; next++) {
    const record = recordOf(slots, records, next, capacity);
    if (!record || !load<u32>(record, 8) || load<u32>(record) != table) break;
  }
  return next;
}

/** sums[k] = x B[:, k] of some rows: lines that all rows meet stay in the first cache. */
function sumLines(
  x: usize,
  inSize: usize,
  large: usize,
  line: usize,
  sums: usize,
  width: usize,
  rows: usize,
  from: usize,
  to: usize,
): void {
  for (let r: usize = 0; r < rows; r++) memory.fill(sums + ((r * width + from) << 2), 0, (to - from) << 2);
  for (let q: usize = 0; q < inSize; q += lines) {
    const held = min(lines, inSize - q), at = large + q * line + (from << 2);
    for (let r: usize = 0; r < rows; r++) {
      addLines(x + ((r * inSize + q) << 2), at, line, sums + ((r * width + from) << 2), held, to - from);
    }
  }
}

/** sums[l n + m] = A[l] (gamma[m] * x) of one row, by lines `begin` to `end` of A. */
function smallProducts(
  x: usize,
  gamma: usize,
  table: usize,
  sums: usize,
  scratch: usize,
  inSize: usize,
  n: usize,
  begin: usize,
  end: usize,
): void {
  const a = table + 16, wide = wideOf(table), products = scratch + ((together * inSize) << 2);
  for (let m: usize = 0; m < n; m += together) {
    const held = min(together, n - m);
    for (let i: usize = 0; i < held; i++) {
      multiply(x, gamma + (((m + i) * inSize) << 2), scratch + ((i * inSize) << 2), inSize);
    }
    for (let line = begin; line < end; line += chunk) {
      const count = min(chunk, end - line), weight = a + ((line * wide) << 2);
      wholeLinear(scratch, inSize, weight, wide, products, count, held, inSize, count, false);
      for (let i: usize = 0; i < held; i++) {
        for (let l: usize = 0; l < count; l++) {
          store<f32>(sums + (((line + l) * n + m + i) << 2), load<f32>(products + ((i * count + l) << 2)));
        }
      }
    }
  }
}

/** to = a * b, element by element. */
function multiply(a: usize, b: usize, to: usize, count: usize): void {
  let i: usize = 0;
  const whole = (count & ~3) << 2, end = count << 2;
  for (; i < whole; i += 16) v128.store(to + i, f32x4.mul(v128.load(a + i), v128.load(b + i)));
  for (; i < end; i += 4) store<f32>(to + i, load<f32>(a + i) * load<f32>(b + i));
}

/** y += the numbers between times the other factor. `scratch` holds an `out` of floats, and 64. An item is a column of y. */
export function randlora_up(
  slots: usize,
  records: usize,
  tables: usize,
  values: usize,
  between: usize,
  y: usize,
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
  const width = most(inSize, out0) + most(inSize, out1) + most(inSize, out2), yStride = out0 + out1 + out2;
  let at: usize = 0, place: usize = 0;
  for (let i: usize = 0; i < 3; i++) {
    const out = i == 0 ? out0 : i == 1 ? out1 : out2, own = records + (((first + i) * capacity) << 4);
    const from = min(max(begin, at), at + out) - at, to = min(max(end, at), at + out) - at;
    let row: usize = 0;
    while (from < to && row < rows) {
      const record = recordOf(slots, own, row, capacity);
      if (!record || !load<u32>(record, 8)) {
        row++;
        continue;
      }
      const next = endOfRun(slots, own, row, rows, capacity), count = next - row;
      const table = tables + (<usize> load<u32>(record) << 2);
      const n = (min(inSize, out) + rankOf(table) - 1) / rankOf(table), numbers = n * rankOf(table);
      const sums = between + ((row * width + place) << 2), into = y + ((row * yStride + at + from) << 2);
      if (inSize <= out) {
        const line = lineOf(table), weight = largeOf(table) + from * line;
        wholeLinear(sums, width, weight, line >> 2, into, yStride, count, numbers, to - from, true);
      } else {
        for (let r: usize = 0; r < count; r++) {
          const mine = recordOf(slots, own, row + r, capacity);
          const gamma = values + ((<usize> load<u32>(mine, 4) + numbers + from) << 2);
          const rowOfY = into + ((r * yStride) << 2);
          addSmall(sums + ((r * width) << 2), gamma, out, table, rowOfY, scratch, n, from, to - from);
        }
      }
      row = next;
    }
    at += out;
    place += most(inSize, out);
  }
}

/** y[o] += sum over m of gamma[m, o] sum over l of z[l n + m] A[l, o]: `count` outputs of one row. */
function addSmall(
  z: usize,
  gamma: usize,
  out: usize,
  table: usize,
  y: usize,
  scratch: usize,
  n: usize,
  from: usize,
  count: usize,
): void {
  const rank = rankOf(table), line = wideOf(table) << 2, a = table + 16 + (from << 2);
  const numbers = scratch, sums = scratch + (chunk << 2);
  for (let m: usize = 0; m < n; m++) {
    memory.fill(sums, 0, count << 2);
    for (let begin: usize = 0; begin < rank; begin += chunk) {
      const held = min(chunk, rank - begin);
      for (let l: usize = 0; l < held; l++) {
        store<f32>(numbers + (l << 2), load<f32>(z + (((begin + l) * n + m) << 2)));
      }
      for (let l: usize = 0; l < held; l += lines) {
        addLines(numbers + (l << 2), a + (begin + l) * line, line, sums, min(lines, held - l), count);
      }
    }
    addProducts(sums, gamma + ((m * out) << 2), y, count);
  }
}

/** to += a * b, element by element. */
function addProducts(a: usize, b: usize, to: usize, count: usize): void {
  let i: usize = 0;
  const whole = (count & ~3) << 2;
  for (; i < whole; i += 16) {
    v128.store(to + i, multiplyAdd(v128.load(to + i), v128.load(a + i), v128.load(b + i)));
  }
  const rest = count & 3;
  if (rest) {
    storeTail(
      to + i,
      multiplyAdd(loadTail(to + i, rest), loadTail(a + i, rest), loadTail(b + i, rest)),
      rest,
    );
  }
}

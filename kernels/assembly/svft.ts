// y += U (M (V x)), each row with its own sparse M between factors that rows may share.
import { wholeLinear } from "./linear";

/** See the kernel's documentation. `down` and `middle` have room for `most` hidden numbers of every row. An item is rows. */
export function svft_linear(
  x: usize,
  xStride: usize,
  slots: usize,
  records: usize,
  tables: usize,
  values: usize,
  y: usize,
  yStride: usize,
  down: usize,
  middle: usize,
  most: usize,
  inSize: usize,
  out0: usize,
  out1: usize,
  out2: usize,
  first: usize,
  capacity: usize,
  begin: usize,
  rows: usize,
): void {
  down += (begin * most) << 2;
  middle += (begin * most) << 2;
  let to = y;
  for (let i: usize = 0; i < 3; i++) {
    const out = i == 0 ? out0 : i == 1 ? out1 : out2;
    const own = records + (((first + i) * capacity) << 4);
    let row = begin;
    while (out && row < rows) {
      const record = recordOf(slots, own, row, capacity), n = record ? <usize> load<u32>(record, 8) : 0;
      let end = row + 1;
      if (n) {
        // Neighbours that share their factors are multiplied together.
        while (end < rows && sharing(record, recordOf(slots, own, end, capacity))) end++;
        const count = end - row, v = tables + (<usize> load<u32>(record) << 2), u = v + ((n * inSize) << 2);
        wholeLinear(x + ((row * xStride) << 2), xStride, v, inSize, down, n, count, inSize, n, false);
        for (let r: usize = 0; r < count; r++) {
          const at = values + (<usize> load<u32>(recordOf(slots, own, row + r, capacity), 4) << 2);
          sparse(at, down + ((r * n) << 2), middle + ((r * n) << 2), n);
        }
        wholeLinear(middle, n, u, n, to + ((row * yStride) << 2), yStride, count, n, out, true);
      }
      row = end;
    }
    to += out << 2;
  }
}

/** The record of a row's adapter; 0 where the row has none. */
export function recordOf(slots: usize, records: usize, row: usize, capacity: usize): usize {
  const slot = <usize> load<u32>(slots + (row << 2));
  return slot < capacity ? records + (slot << 4) : 0;
}

function sharing(record: usize, other: usize): bool {
  return other != 0 && load<u32>(record) == load<u32>(other) && load<u32>(record, 8) == load<u32>(other, 8);
}

/** m = M z of one row. */
function sparse(at: usize, z: usize, m: usize, n: usize): void {
  const columns = at + ((n + 1) << 2), entries = columns + (count(at + (n << 2)) << 2);
  for (let i: usize = 0; i < n; i++) {
    const end = count(at + ((i + 1) << 2));
    let sum: f32 = 0;
    for (let e = count(at + (i << 2)); e < end; e++) {
      sum += load<f32>(entries + (e << 2)) * load<f32>(z + (count(columns + (e << 2)) << 2));
    }
    store<f32>(m + (i << 2), sum);
  }
}

/** A whole number that is kept as a float. */
function count(at: usize): usize {
  return <usize> load<f32>(at);
}

// y += scale dW x of a sparse dW, each row with its own adapter.
import { recordOf } from "./svft";

/** See the kernel's documentation. An item is a column of y. */
export function sparse_linear(
  x: usize,
  slots: usize,
  records: usize,
  tables: usize,
  values: usize,
  y: usize,
  yStride: usize,
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
      const offsets = tables + (<usize> load<u32>(record) << 2), columns = offsets + ((out + 1) << 2);
      const numbers = values + (<usize> load<u32>(record, 4) << 2), scale = <f64> load<f32>(record, 12);
      const row = x + ((r * inSize) << 2), sums = y + ((r * yStride + at) << 2);
      let e = <usize> load<u32>(offsets + (from << 2)) << 2;
      for (let o = from; o < to; o++) {
        const stop = <usize> load<u32>(offsets + (o << 2), 4) << 2;
        if (e == stop) continue;
        let sum: f64 = 0;
        for (; e < stop; e += 4) {
          const column = <usize> load<u32>(columns + e) << 2;
          sum += <f64> load<f32>(numbers + e) * <f64> load<f32>(row + column);
        }
        const place = sums + (o << 2);
        store<f32>(place, <f32> (<f64> load<f32>(place) + scale * sum));
      }
    }
    at += out;
  }
}

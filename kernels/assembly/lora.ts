// y += scale B (A x), each row with its own adapter.
import { wholeLinear } from "./linear";

/** Ranks at a time: floats in scratch. */
const chunk: usize = 64;

/** See the kernel's documentation. An item is rows. */
export function lora_linear(
  x: usize,
  xStride: usize,
  slots: usize,
  records: usize,
  values: usize,
  y: usize,
  yStride: usize,
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
  for (let r = begin; r < end; r++) {
    const slot = <usize> load<u32>(slots + (r << 2));
    if (slot >= capacity) continue;
    let to = y + ((r * yStride) << 2);
    for (let i: usize = 0; i < 3; i++) {
      const out = i == 0 ? out0 : i == 1 ? out1 : out2;
      const record = records + (((firstLinear + i) * capacity + slot) << 4);
      if (out) update(x + ((r * xStride) << 2), record, values, to, scratch, inSize, out);
      to += out << 2;
    }
  }
}

/** y += scale B (A x) of one row, by the record of its adapter. */
function update(
  x: usize,
  record: usize,
  values: usize,
  y: usize,
  scratch: usize,
  inSize: usize,
  outSize: usize,
): void {
  const rank = <usize> load<u32>(record, 8);
  const down = values + (<usize> load<u32>(record, 4) << 2), up = down + ((rank * inSize) << 2);
  const scale = load<f32>(record, 12);
  for (let begin: usize = 0; begin < rank; begin += chunk) {
    const size = min(chunk, rank - begin), from = down + ((begin * inSize) << 2);
    wholeLinear(x, 0, from, inSize, scratch, 0, 1, inSize, size, false);
    for (let i: usize = 0; i < size; i++) {
      store<f32>(scratch + (i << 2), scale * load<f32>(scratch + (i << 2)));
    }
    wholeLinear(scratch, 0, up + (begin << 2), rank, y, 0, 1, size, outSize, true);
  }
}

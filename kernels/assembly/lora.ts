// y += scale B (A x), each row with its own adapter.
import { loadTail, multiplyAdd, storeTail } from "./lanes";
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
    for (let i: usize = 0; i < size; i += lines) {
      const from = up + (begin + i) * (outSize << 2);
      addLines(scratch + (i << 2), from, outSize << 2, y, min(lines, size - i), outSize);
    }
  }
}

/** Lines that are read side by side: more of a length that is a power of two would meet in the cache. */
export const lines: usize = 8;

/**
 * y += sum of z[r] times line r of the matrix (rank, outSize) at `up`, `line` bytes from one to the next: each lane is an
 * output.
 */
export function addLines(z: usize, up: usize, line: usize, y: usize, rank: usize, outSize: usize): void {
  const end = rank << 2;
  let i: usize = 0;
  for (; i + 16 <= outSize; i += 16) {
    const to = y + (i << 2);
    let a = v128.load(to), b = v128.load(to, 16), c = v128.load(to, 32), d = v128.load(to, 48);
    for (let r: usize = 0, from = up + (i << 2); r < end; r += 4, from += line) {
      const factor = v128.load32_splat(z + r);
      a = multiplyAdd(a, factor, v128.load(from));
      b = multiplyAdd(b, factor, v128.load(from, 16));
      c = multiplyAdd(c, factor, v128.load(from, 32));
      d = multiplyAdd(d, factor, v128.load(from, 48));
    }
    v128.store(to, a);
    v128.store(to, b, 16);
    v128.store(to, c, 32);
    v128.store(to, d, 48);
  }
  for (; i < outSize; i += 4) {
    const count = min(outSize - i, <usize> 4), to = y + (i << 2);
    let a = count == 4 ? v128.load(to) : loadTail(to, count);
    for (let r: usize = 0, from = up + (i << 2); r < end; r += 4, from += line) {
      a = multiplyAdd(a, v128.load32_splat(z + r), count == 4 ? v128.load(from) : loadTail(from, count));
    }
    if (count == 4) v128.store(to, a);
    else storeTail(to, a, count);
  }
}

// y += scale B (A x), each row with its own adapter.
import { loadTail, multiplyAdd, storeTail } from "./lanes";
import { wholeLinear } from "./linear";

/** Ranks at a time. */
const chunk: usize = 64;

/** Bytes of a row's hidden numbers. */
const hiddenBytes: usize = 256;

/** Neighbouring rows of one adapter that read its numbers together: scratch holds so many chunks. */
const rowsTogether: usize = 4;

/** See the kernel's documentation. An item is rows. A row has the same bits in any company. */
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
  for (let r = begin, held: usize = 1; r < end; r += held) {
    const slot = <usize> load<u32>(slots + (r << 2));
    held = 1;
    if (slot >= capacity) continue;
    while (held < rowsTogether && r + held < end && load<u32>(slots + ((r + held) << 2)) == slot) held++;
    if (held < rowsTogether) held = 1;
    let to = y + ((r * yStride) << 2);
    for (let i: usize = 0; i < 3; i++) {
      const out = i == 0 ? out0 : i == 1 ? out1 : out2;
      const record = records + (((firstLinear + i) * capacity + slot) << 4);
      if (out) {
        update(x + ((r * xStride) << 2), xStride, record, values, to, yStride, scratch, inSize, out, held);
      }
      to += out << 2;
    }
  }
}

/** y += scale B (A x) of one row or `rowsTogether`, by the record of their adapter. */
function update(
  x: usize,
  xStride: usize,
  record: usize,
  values: usize,
  y: usize,
  yStride: usize,
  scratch: usize,
  inSize: usize,
  outSize: usize,
  rows: usize,
): void {
  const rank = <usize> load<u32>(record, 8), line = outSize << 2;
  const down = values + (<usize> load<u32>(record, 4) << 2), up = down + ((rank * inSize) << 2);
  const scale = load<f32>(record, 12);
  for (let begin: usize = 0; begin < rank; begin += chunk) {
    const size = min(chunk, rank - begin), from = down + ((begin * inSize) << 2);
    wholeLinear(x, xStride, from, inSize, scratch, chunk, rows, inSize, size, false);
    for (let r: usize = 0, z = scratch; r < rows; r++, z += hiddenBytes) {
      for (let i = z; i < z + (size << 2); i += 4) store<f32>(i, scale * load<f32>(i));
    }
    for (let i: usize = 0; i < size; i += lines) {
      const z = scratch + (i << 2), from = up + (begin + i) * line, held = min(lines, size - i);
      if (rows == 1) addLines(z, from, line, y, held, outSize);
      else addLinesOfFour(z, from, line, y, yStride << 2, held, outSize);
    }
  }
}

/** `addLines` of four rows, whose numbers are `hiddenBytes` apart in z. */
function addLinesOfFour(
  z: usize,
  up: usize,
  line: usize,
  y: usize,
  yStride: usize,
  rank: usize,
  outSize: usize,
): void {
  const y1 = y + yStride,
    y2 = y1 + yStride,
    y3 = y2 + yStride,
    behind = z + (rank << 2),
    all = (outSize & ~7) << 2;
  for (let i: usize = 0; i < all; i += 32) {
    let a = v128.load(y + i), e = v128.load(y + i, 16), b = v128.load(y1 + i), f = v128.load(y1 + i, 16);
    let c = v128.load(y2 + i), g = v128.load(y2 + i, 16), d = v128.load(y3 + i), h = v128.load(y3 + i, 16);
    for (let k = z, from = up + i; k < behind; k += 4, from += line) {
      const u = v128.load(from), v = v128.load(from, 16);
      let t = v128.load32_splat(k);
      a = multiplyAdd(a, t, u), e = multiplyAdd(e, t, v), t = v128.load32_splat(k, 256);
      b = multiplyAdd(b, t, u), f = multiplyAdd(f, t, v), t = v128.load32_splat(k, 512);
      c = multiplyAdd(c, t, u), g = multiplyAdd(g, t, v), t = v128.load32_splat(k, 768);
      d = multiplyAdd(d, t, u), h = multiplyAdd(h, t, v);
    }
    v128.store(y + i, a), v128.store(y + i, e, 16);
    v128.store(y1 + i, b), v128.store(y1 + i, f, 16);
    v128.store(y2 + i, c), v128.store(y2 + i, g, 16);
    v128.store(y3 + i, d), v128.store(y3 + i, h, 16);
  }
  if (!(outSize & 7)) return;
  for (let r: usize = 0; r < rowsTogether; r++) {
    addLines(z + r * hiddenBytes, up + all, line, y + r * yStride + all, rank, outSize & 7);
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

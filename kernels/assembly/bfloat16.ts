// deno-fmt-ignore-file: the formatter drops `@inline`.
// Lines of numbers of float32 or bfloat16: functions of either take its type, `f32` or `u16`. bfloat16 is the upper half of
// float32, so that to widen a number is to move it up. That is done in registers: memory is read at half the bytes, and the
// sums are those by numbers that were widened before, in the same order.
import { loadTail, storeTail } from "./lanes";

/** The first four of eight numbers of bfloat16, as float32. */
@inline
function low(v: v128): v128 {
  return i16x8.shuffle(i32x4.splat(0), v, 0, 8, 1, 9, 2, 10, 3, 11);
}

/** The last four of eight. */
@inline
function high(v: v128): v128 {
  return i16x8.shuffle(i32x4.splat(0), v, 4, 12, 5, 13, 6, 14, 7, 15);
}

/** The first four of eight numbers of a line, of the vector that begins there. */
@inline
export function first<T>(v: v128): v128 {
  return sizeof<T>() == 4 ? v : low(v);
}

/** The last four of eight numbers of a line, of the vector that begins with the first, at `from`. */
@inline
export function second<T>(v: v128, from: usize): v128 {
  return sizeof<T>() == 4 ? v128.load(from, 16) : high(v);
}

/** Four numbers of a line. */
@inline
export function four<T>(from: usize): v128 {
  return sizeof<T>() == 4 ? v128.load(from) : low(v128.load64_zero(from));
}

/** The last up to three numbers of a line, and zeros. */
@inline
export function tail<T>(from: usize, count: usize): v128 {
  return sizeof<T>() == 4 ? loadTail(from, count) : narrowTail(from, count);
}

function narrowTail(from: usize, count: usize): v128 {
  let v = v128.load16_lane(from, i32x4.splat(0), 1);
  if (count > 1) v = v128.load16_lane(from + 2, v, 3);
  if (count > 2) v = v128.load16_lane(from + 4, v, 5);
  return v;
}

/** Numbers of bfloat16 as float32. */
export function widen(from: usize, count: usize, to: usize): void {
  const stop = to + (count << 2);
  for (; to + 32 <= stop; from += 16, to += 32) {
    const v = v128.load(from);
    v128.store(to, low(v));
    v128.store(to, high(v), 16);
  }
  if (to + 16 <= stop) {
    v128.store(to, four<u16>(from));
    from += 8;
    to += 16;
  }
  if (to < stop) storeTail(to, narrowTail(from, (stop - to) >> 2), (stop - to) >> 2);
}

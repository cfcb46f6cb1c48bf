// The packed key-value cache: heads of cache rows to words and back, and attention over them. kernels/caches/ says where the
// bits are. `bits` is 16 for float16 and 8 for int8; `heads` below counts heads of all cache rows.
import { cap, score } from "./attention";
import { exp, largest, multiplyAdd, storeTail, sum } from "./lanes";
import { turn, turnOf } from "./rows";

/** Keys that are widened at once; `tileKeys` of kernels/attention.ts. */
const tileKeys: usize = 32;

/** Rows that share a tile; `rowsTogether` of kernels/attention.ts. */
const tileRows: usize = 4;

/** Four numbers as float16 bits in the lower halves of four words, rounded to nearest even; at most 65504. */
function halvesOf(x: v128): v128 {
  const sign = v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000));
  const size = f32x4.pmin(f32x4.abs(x), f32x4.splat(65504));
  // Normal halves: the exponent less, then half of the last place, and one for an odd result.
  const odd = v128.and(i32x4.shr_u(size, 13), i32x4.splat(1));
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(size, i32x4.splat(0xfff - (112 << 23))), odd), 13);
  // Others are multiples of 2^-24: beside 0.5, float32 rounds to these itself.
  const small = i32x4.sub(f32x4.add(size, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  const isSmall = f32x4.lt(size, f32x4.splat(6.103515625e-5));
  return v128.or(sign, v128.bitselect(small, normal, isSmall));
}

/** Four float16, widened to words with their signs, as float32, times 2^-112 `scale`. */
function fromHalves(words: v128, scale: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shl(words, 13), i32x4.splat(0x8fffffff)), scale);
}

/** Each half of a head that has a number which is not finite. */
const notFinite: u16 = 0xffff;

/** Where the factors of int8 begin. */
function factors(cache: usize, heads: usize, quads: usize): usize {
  return cache + ((heads * quads) << 2);
}

/** Stores `quads` quads of numbers, zeros past the head's end, as head `head` of a cache. */
function storeHead(from: usize, cache: usize, head: usize, heads: usize, quads: usize, bits: u32): void {
  if (bits == 16) {
    const to = cache + ((head * quads) << 3);
    // Bits of sizes: they are ordered as numbers are, with infinity and NaN above all.
    let largestBits = i32x4.splat(0);
    for (let q: usize = 0; q < quads; q++) {
      const x = v128.load(from + (q << 4)), halves = halvesOf(x);
      largestBits = i32x4.max_s(largestBits, f32x4.abs(x));
      v128.store64_lane(to + (q << 3), i16x8.narrow_i32x4_u(halves, halves), 0);
    }
    const isLost = v128.any_true(i32x4.ge_s(largestBits, f32x4.splat(Infinity)));
    if (isLost) memory.fill(to, 0xff, quads << 3);
    return;
  }
  let sizes = f32x4.splat(0);
  for (let q: usize = 0; q < quads; q++) sizes = f32x4.max(sizes, f32x4.abs(v128.load(from + (q << 4))));
  const most = largest(sizes), inverse = f32x4.splat(most > 1e-30 ? <f32> 127 / most : 0);
  store<f32>(factors(cache, heads, quads) + (head << 2), most / <f32> 127);
  const to = cache + ((head * quads) << 2);
  for (let q: usize = 0; q < quads; q++) {
    const near = f32x4.nearest(f32x4.mul(v128.load(from + (q << 4)), inverse));
    const whole = i32x4.add(i32x4.trunc_sat_f32x4_s(near), i32x4.splat(128));
    const words = i16x8.narrow_i32x4_s(whole, whole);
    v128.store32_lane(to + (q << 2), i8x16.narrow_i16x8_u(words, words), 0);
  }
}

/** Four whole numbers of 16 bits, widened to words, times a factor. */
function times(words: v128, factor: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(words), factor);
}

/** Widens a head of a cache to `quads` quads of float32, two at a time. */
function widenHead(cache: usize, head: usize, heads: usize, quads: usize, bits: u32, to: usize): void {
  const end = to + (quads << 4), pairs = end - 16;
  if (bits == 16) {
    let from = cache + ((head * quads) << 3);
    const scale = f32x4.splat(load<u16>(from) == notFinite ? NaN : <f32> 5.192296858534828e33);
    for (; to < pairs; to += 32, from += 16) {
      const halves = v128.load(from);
      v128.store(to, fromHalves(i32x4.extend_low_i16x8_s(halves), scale));
      v128.store(to, fromHalves(i32x4.extend_high_i16x8_s(halves), scale), 16);
    }
    if (to < end) v128.store(to, fromHalves(v128.load16x4_s(from), scale));
    return;
  }
  const factor = v128.load32_splat(factors(cache, heads, quads) + (head << 2)), turned = i8x16.splat(-128);
  let from = cache + ((head * quads) << 2);
  for (; to < pairs; to += 32, from += 8) {
    const numbers = i16x8.extend_low_i8x16_s(v128.xor(v128.load64_zero(from), turned));
    v128.store(to, times(i32x4.extend_low_i16x8_s(numbers), factor));
    v128.store(to, times(i32x4.extend_high_i16x8_s(numbers), factor), 16);
  }
  if (to < end) {
    const numbers = i16x8.extend_low_i8x16_s(v128.xor(v128.load32_zero(from), turned));
    v128.store(to, times(i32x4.extend_low_i16x8_s(numbers), factor));
  }
}

/** As `rope_cache`, to packed caches; `key` has room for the quads of a head. */
export function packed_rope_cache(
  qkv: usize,
  qkvStride: usize,
  table: usize,
  positions: usize,
  index: usize,
  keys: usize,
  values: usize,
  key: usize,
  heads: usize,
  kvHeads: usize,
  headDim: usize,
  rotaryDim: usize,
  cacheRows: u32,
  bits: u32,
  begin: usize,
  end: usize,
): void {
  const quads = (headDim + 3) >> 2, size = headDim << 2, allHeads = <usize> cacheRows * kvHeads;
  for (let r = begin; r < end; r++) {
    const from = qkv + ((r * qkvStride) << 2), by = turnOf(table, positions, r, rotaryDim);
    turn(from, by, heads, headDim, rotaryDim, 1);
    const place = load<u32>(index + (r << 2));
    if (place >= cacheRows) continue;
    for (let h: usize = 0; h < kvHeads; h++) {
      const head = <usize> place * kvHeads + h, at = from + (heads + h) * size;
      memory.fill(key, 0, quads << 4);
      memory.copy(key, at, size);
      turn(key, by, 1, headDim, rotaryDim, 1);
      storeHead(key, keys, head, allHeads, quads, bits);
      memory.copy(key, at + kvHeads * size, size);
      storeHead(key, values, head, allHeads, quads, bits);
    }
  }
}

/**
 * Reads a byte of each cache line of `count` keys' heads: reads that wait for memory then wait together. Processors do not foresee
 * them. The result is there so that no compiler leaves the reads out.
 */
function touched(heads: usize, stride: usize, count: u32, bytes: usize): u32 {
  let sum: u32 = 0;
  for (let n: u32 = 0; n < count; n++, heads += stride) {
    for (let line: usize = 0; line < bytes; line += 64) sum += load<u8>(heads + line);
  }
  return sum;
}

/**
 * Widens `count` heads, from a key head on, of keys `[start, start + size)` of a sequence: a tile of so many heads for each
 * key, of `quads` quads each.
 */
function widenTile(
  cache: usize,
  blocks: usize,
  blockSize: u32,
  start: u32,
  size: usize,
  kvHead: usize,
  count: usize,
  kvHeads: usize,
  heads: usize,
  quads: usize,
  bits: u32,
  tile: usize,
): void {
  const ofHead = bits == 16 ? quads << 3 : quads << 2;
  let key = start;
  for (const end = start + <u32> size; key < end;) {
    const offset = key % blockSize, many = min(blockSize - offset, end - key);
    const place = load<u32>(blocks + (<usize> (key / blockSize) << 2)) * blockSize + offset;
    let head = <usize> place * kvHeads + kvHead;
    store<u32>(tile, touched(cache + head * ofHead, kvHeads * ofHead, many, count * ofHead));
    for (let n: u32 = 0; n < many; n++, head += kvHeads) {
      for (let h: usize = 0; h < count; h++, tile += quads << 4) {
        widenHead(cache, head + h, heads, quads, bits, tile);
      }
    }
    key += many;
  }
}

/** Scores become weights relative to `top`, zeros up to the next multiple of four; their sum. */
function weightsOf(scores: usize, count: usize, top: f32): f32 {
  const end = ((count + 3) & ~3) << 2, most = f32x4.splat(top);
  let total = f32x4.splat(0);
  for (let i: usize = 0; i < end; i += 16) {
    const weight = exp(f32x4.sub(v128.load(scores + i), most));
    v128.store(scores + i, weight);
    total = f32x4.add(total, weight);
  }
  return sum(total);
}

/** The largest score, with -infinity put up to the next multiple of four. */
function topOf(scores: usize, count: usize): f32 {
  const padded = (count + 3) & ~3;
  for (let j = count; j < padded; j++) store<f32>(scores + (j << 2), -Infinity);
  let most = f32x4.splat(-Infinity);
  for (let i: usize = 0; i < padded << 2; i += 16) most = f32x4.max(most, v128.load(scores + i));
  return largest(most);
}

/** sums = factor sums + the tile's values weighted, a quad of all of them at a time. */
function addWeighted(
  weights: usize,
  tile: usize,
  stride: usize,
  count: usize,
  quads: usize,
  factor: f32,
  sums: usize,
): void {
  const scale = f32x4.splat(factor), all = quads << 4;
  let i: usize = 0;
  for (; i + 64 <= all; i += 64) {
    let a = f32x4.mul(v128.load(sums + i), scale), b = f32x4.mul(v128.load(sums + i, 16), scale);
    let c = f32x4.mul(v128.load(sums + i, 32), scale), d = f32x4.mul(v128.load(sums + i, 48), scale);
    let value = tile + i;
    for (let j: usize = 0; j < count; j++, value += stride) {
      const w = v128.load32_splat(weights + (j << 2));
      a = multiplyAdd(a, w, v128.load(value));
      b = multiplyAdd(b, w, v128.load(value, 16));
      c = multiplyAdd(c, w, v128.load(value, 32));
      d = multiplyAdd(d, w, v128.load(value, 48));
    }
    v128.store(sums + i, a);
    v128.store(sums + i, b, 16);
    v128.store(sums + i, c, 32);
    v128.store(sums + i, d, 48);
  }
  for (; i < all; i += 16) {
    let a = f32x4.mul(v128.load(sums + i), scale), value = tile + i;
    for (let j: usize = 0; j < count; j++, value += stride) {
      a = multiplyAdd(a, v128.load32_splat(weights + (j << 2)), v128.load(value));
    }
    v128.store(sums + i, a);
  }
}

/** The keys of a row: the first in the lower half of the result, the one after the last in the upper half. */
function spanOf(
  first: u32,
  lastKey: u32,
  cacheRows: u32,
  blockSize: u32,
  tableSize: u32,
  window: u32,
): u64 {
  const entries = tableSize - min(first, tableSize), length = <u64> lastKey + 1;
  const skipped = window > 0 && length > window ? length - window : 0;
  const end = min(min(length, <u64> cacheRows), <u64> entries * blockSize);
  return min(skipped, end) | (end << 32);
}

/** Adds a tile's keys and values to what a head has in `own`: scores, the largest score, the sum of weights, and values. */
function addTile(own: usize, values: usize, stride: usize, count: usize, quads: usize): void {
  const state = own + (tileKeys << 2), before = load<f32>(state), top = max(before, topOf(own, count));
  const factor = f32x4.extract_lane(exp(f32x4.splat(before - top)), 0), weights = weightsOf(own, count, top);
  store<f32>(state, top);
  store<f32>(state, load<f32>(state, 4) * factor + weights, 4);
  addWeighted(own, values, stride, count, quads, factor, state + 16);
}

/** y = the values that a head has in `own`, over the sum of weights; zeros of no keys. */
function finish(own: usize, headDim: usize, y: usize): void {
  const state = own + (tileKeys << 2), total = load<f32>(state, 4);
  const inverse = f32x4.splat(total > 0 ? <f32> 1 / total : 0);
  for (let i: usize = 0; i < headDim << 2; i += 16) {
    const value = f32x4.mul(v128.load(state + 16 + i), inverse), rest = headDim - (i >> 2);
    if (rest >= 4) v128.store(y + i, value);
    else storeTail(y + i, value, rest);
  }
}

/**
 * As `attention`, over packed caches. All heads of a row that are in hand take a tile of keys, and of values, together, and so
 * do up to four rows of a sequence: the tile is widened once, and memory is read in order. Tiles begin at multiples of their
 * size. Softmax is online, so that scratch does not grow with the context. For each head of four rows, `scores` has room
 * for a tile's scores, 16 bytes and the quads of a head.
 */
export function packed_cache_attention(
  q: usize,
  qStride: usize,
  keys: usize,
  values: usize,
  blockTable: usize,
  firstBlocks: usize,
  lastKeys: usize,
  y: usize,
  yStride: usize,
  scores: usize,
  tile: usize,
  heads: usize,
  kvHeads: usize,
  headDim: usize,
  cacheRows: u32,
  blockSize: u32,
  tableSize: u32,
  window: u32,
  scale: f32,
  softcap: f32,
  bits: u32,
  first: usize,
  behind: usize,
): void {
  const quads = (headDim + 3) >> 2, width = quads << 4, group = heads / kvHeads;
  const allHeads = <usize> cacheRows * kvHeads, ofHead = (tileKeys << 2) + 16 + width;
  for (let n = first; n < behind;) {
    const row = n / heads, head = n % heads, many = min(heads - head, behind - n);
    const begin = load<u32>(firstBlocks + (row << 2)), blocks = blockTable + (<usize> begin << 2);
    const kvHead = head / group, kvCount = (head + many - 1) / group + 1 - kvHead, stride = kvCount * width;
    let rows: usize = 1, start: u32 = -1, end: u32 = 0;
    while (
      many == heads && rows < tileRows && n + (rows + 1) * heads <= behind &&
      load<u32>(firstBlocks + ((row + rows) << 2)) == begin
    ) rows++;
    for (let r: usize = 0; r < rows; r++) {
      const lastKey = load<u32>(lastKeys + ((row + r) << 2));
      const span = spanOf(begin, lastKey, cacheRows, blockSize, tableSize, window);
      start = min(start, <u32> span);
      end = max(end, <u32> (span >> 32));
      for (let g: usize = 0; g < many; g++) {
        const state = scores + (r * many + g) * ofHead + (tileKeys << 2);
        store<f32>(state, -Infinity);
        memory.fill(state + 4, 0, width + 12);
      }
    }
    for (let at = start - start % <u32> tileKeys; at < end; at += <u32> tileKeys) {
      const from = max(at, start), size = <usize> (min(at + <u32> tileKeys, end) - from);
      for (let isKeys = true;; isKeys = false) {
        const cache = isKeys ? keys : values;
        widenTile(
          cache,
          blocks,
          blockSize,
          from,
          size,
          kvHead,
          kvCount,
          kvHeads,
          allHeads,
          quads,
          bits,
          tile,
        );
        for (let r: usize = 0; r < rows; r++) {
          const lastKey = load<u32>(lastKeys + ((row + r) << 2));
          const span = spanOf(begin, lastKey, cacheRows, blockSize, tableSize, window);
          const own = max(from, <u32> span), ownEnd = min(from + <u32> size, <u32> (span >> 32));
          if (own >= ownEnd) continue;
          const count = <usize> (ownEnd - own), tileRow = tile + (own - from) * stride;
          for (let g: usize = 0; g < many; g++) {
            const to = scores + (r * many + g) * ofHead,
              place = tileRow + ((head + g) / group - kvHead) * width;
            if (isKeys) {
              const query = q + (((row + r) * qStride + (head + g) * headDim) << 2);
              score(query, place, stride, count, headDim, scale, to);
              if (softcap > 0) cap(to, count, softcap);
            } else addTile(to, place, stride, count, quads);
          }
        }
        if (!isKeys) break;
      }
    }
    for (let r: usize = 0; r < rows; r++) {
      for (let g: usize = 0; g < many; g++) {
        const to = y + (((row + r) * yStride + (head + g) * headDim) << 2);
        finish(scores + (r * many + g) * ofHead, headDim, to);
      }
    }
    n += rows * many;
  }
}

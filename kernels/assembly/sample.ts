// A token of each row of logits. Nothing is sorted: the logit at which top-k or top-p ends is found by its bits, eight
// at a time from the highest.
import { exp, loadTail } from "./lanes";

/** Amounts of 256 buckets as float64, then their numbers of elements as u32. */
const bucketBytes: usize = 256 * 12;

/** What stands in place of a token where a logit is no finite number. */
const noToken: u32 = 0xffffffff;

function at(logits: usize, i: usize): f32 {
  return load<f32>(logits + (i << 2));
}

/** Whether no logit is NaN or infinite. */
function allFinite(logits: usize, count: usize): bool {
  const vectors = count & ~3, end = f32x4.splat(Infinity);
  let finite = i32x4.splat(-1);
  for (let i: usize = 0; i < vectors; i += 4) {
    finite = v128.and(finite, f32x4.lt(f32x4.abs(v128.load(logits + (i << 2))), end));
  }
  let all = i32x4.all_true(finite);
  for (let i = vectors; i < count; i++) all = all && abs(at(logits, i)) < Infinity;
  return all;
}

/** An integer in the order of the numbers, in which -0 is 0. */
function keyOf(value: f32): u32 {
  const bits = reinterpret<u32>(value + 0);
  return bits >> 31 ? ~bits : bits | 0x80000000;
}

function valueOf(key: u32): f32 {
  return reinterpret<f32>(key >> 31 ? key & 0x7fffffff : ~key);
}

/** The largest logit. */
function top(logits: usize, count: usize): f32 {
  const vectors = count & ~3;
  let most = f32x4.splat(-Infinity);
  for (let i: usize = 0; i < vectors; i += 4) most = f32x4.pmax(most, v128.load(logits + (i << 2)));
  let largest: f32 = -Infinity;
  for (let i = vectors; i < count; i++) largest = max(largest, at(logits, i));
  largest = max(largest, max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)));
  return max(largest, max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)));
}

/** The first index of the largest logit. */
function greedy(logits: usize, count: usize): u32 {
  const most = top(logits, count);
  const wanted = f32x4.splat(most);
  let i: usize = 0;
  while (i + 4 <= count && !v128.any_true(f32x4.eq(v128.load(logits + (i << 2)), wanted))) i += 4;
  while (load<f32>(logits + (i << 2)) != most) i++;
  return <u32> i;
}

/** Weights e^((logit - largest) / temperature), 1 for the largest; up to a multiple of four. */
function weigh(logits: usize, count: usize, temperature: f32, weights: usize): void {
  const most = f32x4.splat(top(logits, count)), scale = f32x4.splat(temperature);
  for (let i: usize = 0; i < count; i += 4) {
    const from = logits + (i << 2);
    const value = i + 4 <= count ? v128.load(from) : loadTail(from, count - i);
    const weight = exp(f32x4.div(f32x4.sub(value, most), scale));
    v128.store(weights + (i << 2), v128.bitselect(f32x4.splat(1), weight, f32x4.eq(value, most)));
  }
}

/** The sum of the weights of logits not below `floor`. */
function sumFrom(logits: usize, weights: usize, count: usize, floor: f32): f64 {
  let sum: f64 = 0;
  for (let i: usize = 0; i < count; i++) {
    if (at(logits, i) >= floor) sum += <f64> load<f32>(weights + (i << 2));
  }
  return sum;
}

/** The largest logit such that those not below it have `wanted` together: of weight, or 1 each where `weights` is 0. */
function floorOf(logits: usize, weights: usize, count: usize, wanted: f64, buckets: usize): f32 {
  const numbers = buckets + 256 * 8;
  let before: f64 = 0;
  let prefix: u32 = 0;
  for (let shift: i32 = 24; shift >= 0; shift -= 8) {
    memory.fill(buckets, 0, bucketBytes);
    for (let i: usize = 0; i < count; i++) {
      const key = keyOf(at(logits, i));
      if (shift < 24 && key >> (shift + 8) != prefix >> (shift + 8)) continue;
      const bucket = <usize> ((key >> shift) & 255),
        amount = buckets + (bucket << 3),
        number = numbers + (bucket << 2);
      store<f64>(amount, load<f64>(amount) + (weights ? <f64> load<f32>(weights + (i << 2)) : 1));
      store<u32>(number, load<u32>(number) + 1);
    }
    // The last bucket that holds any is taken where rounding leaves the sum short of what is wanted.
    let chosen: usize = 0;
    let passed: f64 = before;
    for (let bucket: usize = 256; bucket-- > 0;) {
      if (!load<u32>(numbers + (bucket << 2))) continue;
      chosen = bucket;
      before = passed;
      passed += load<f64>(buckets + (bucket << 3));
      if (passed >= wanted) break;
    }
    prefix |= <u32> chosen << shift;
  }
  return valueOf(prefix);
}

/** The first token, in order, where the running sum of kept weights passes u of the whole. */
function draw(logits: usize, weights: usize, count: usize, floor: f32, u: f64): u32 {
  const target = u * sumFrom(logits, weights, count, floor);
  let running: f64 = 0;
  let last: usize = 0;
  for (let i: usize = 0; i < count; i++) {
    const weight = load<f32>(weights + (i << 2));
    if (weight == 0 || at(logits, i) < floor) continue;
    running += <f64> weight;
    last = i;
    if (running > target) break;
  }
  return <u32> last;
}

/** See the kernel's documentation; `scratch` holds 3 KiB and a float for each logit of a row, and three more. An item is rows. */
export function sample(
  logits: usize,
  stride: usize,
  params: usize,
  tokens: usize,
  scratch: usize,
  vocab: usize,
  begin: usize,
  end: usize,
): void {
  const weights = scratch + bucketBytes;
  for (let r = begin; r < end; r++) {
    const row = logits + ((r * stride) << 2), choice = params + r * 20, token = tokens + (r << 2);
    const temperature = load<f32>(choice), topP = load<f32>(choice, 4);
    if (!allFinite(row, vocab)) {
      store<u32>(token, noToken);
      continue;
    }
    if (!(temperature > 0)) {
      store<u32>(token, greedy(row, vocab));
      continue;
    }
    weigh(row, vocab, temperature, weights);
    const k = Math.floor(<f64> load<f32>(choice, 8));
    const depth = load<f32>(choice, 16);
    let floor: f32 = depth >= 0 ? top(row, vocab) - depth : -Infinity;
    if (k >= 1 && k < <f64> vocab) floor = max(floor, floorOf(row, 0, vocab, k, scratch));
    if (topP < 1) {
      const wanted = <f64> topP * sumFrom(row, weights, vocab, floor);
      floor = max(floor, floorOf(row, weights, vocab, wanted, scratch));
    }
    store<u32>(token, draw(row, weights, vocab, floor, <f64> load<f32>(choice, 12)));
  }
}

// Output projection, cross-entropy and its gradient, some rows at a time.
import { exp, largest, loadTail, log, storeTail, sum } from "./lanes";
import { product } from "./tiles";
import { transposedProduct } from "./transposed";

/** Vectors whose sum is taken in float32 before it joins a float64 sum. */
const together: usize = 256;

/** The loss of a row of logits, which give way to probabilities less 1 at the target. */
function rowLoss(logits: usize, vocab: usize, token: usize): f64 {
  const end = (vocab & ~3) << 2, rest = vocab & 3;
  let most = f32x4.splat(load<f32>(logits));
  for (let i: usize = 0; i < end; i += 16) most = f32x4.max(most, v128.load(logits + i));
  for (let i = end; i < vocab << 2; i += 4) most = f32x4.max(most, v128.load32_splat(logits + i));
  const top = largest(most), target = load<f32>(logits + (token << 2));
  const high = f32x4.splat(top);
  let total: f64 = 0;
  for (let begin: usize = 0; begin < end; begin += together << 4) {
    const stop = min(begin + (together << 4), end);
    let part = f32x4.splat(0);
    for (let i = begin; i < stop; i += 16) {
      const e = exp(f32x4.sub(v128.load(logits + i), high));
      v128.store(logits + i, e);
      part = f32x4.add(part, e);
    }
    total += <f64> sum(part);
  }
  if (rest) {
    const e = exp(f32x4.sub(loadTail(logits + end, rest), high));
    storeTail(logits + end, e, rest);
    total += <f64> f32x4.extract_lane(e, 0);
    if (rest > 1) total += <f64> f32x4.extract_lane(e, 1);
    if (rest > 2) total += <f64> f32x4.extract_lane(e, 2);
  }
  const inverse = f32x4.splat(<f32> (1.0 / total));
  for (let i: usize = 0; i < end; i += 16) {
    v128.store(logits + i, f32x4.mul(v128.load(logits + i), inverse));
  }
  if (rest) storeTail(logits + end, f32x4.mul(loadTail(logits + end, rest), inverse), rest);
  const at = logits + (token << 2);
  store<f32>(at, load<f32>(at) - 1);
  return log(total) + (<f64> top - <f64> target);
}

/**
 * See the kernel's documentation; with `dhidden` 0 losses alone. `bits` of the weight are 32, or 16 for bfloat16. `room` holds
 * `most` rows of hidden, of its gradient and of logits. An item is `most` rows.
 */
export function cross_entropy(
  hidden: usize,
  weight: usize,
  bits: u32,
  targets: usize,
  losses: usize,
  dhidden: usize,
  room: usize,
  scratch: usize,
  most: usize,
  rows: usize,
  dim: usize,
  vocab: usize,
  scale: f32,
  firstPart: usize,
  lastPart: usize,
): void {
  const line = dim << 2, wide = vocab << 2;
  const dx = room + most * line, logits = dx + most * line;
  for (let begin = firstPart * most; begin < min(lastPart * most, rows); begin += most) {
    // Rows with a target are gathered.
    let count: usize = 0, end = begin;
    for (; end < min(begin + most, rows); end++) {
      if (load<u32>(targets + (end << 2)) < <u32> vocab) {
        memory.copy(room + count * line, hidden + end * line, line);
        count++;
      }
    }
    product(room, line, weight, dim * (bits >> 3), bits, 0, logits, wide, count, dim, vocab, 1, false);
    for (let r = begin, i: usize = 0; r < end; r++) {
      const token = load<u32>(targets + (r << 2));
      if (token >= <u32> vocab) {
        store<f32>(losses + (r << 2), 0);
        continue;
      }
      store<f32>(losses + (r << 2), <f32> rowLoss(logits + i * wide, vocab, token));
      i++;
    }
    if (dhidden) {
      transposedProduct(logits, wide, weight, bits, dx, line, scratch, count, vocab, dim, scale, false);
      for (let r = begin, i: usize = 0; r < end; r++) {
        const to = dhidden + r * line;
        if (load<u32>(targets + (r << 2)) < <u32> vocab) {
          memory.copy(to, dx + i * line, line);
          i++;
        } else memory.fill(to, 0, line);
      }
    }
  }
}

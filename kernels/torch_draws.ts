/**
 * Numbers as PyTorch's CPU generator draws them, for adapters whose files have a seed in place of frozen tensors.
 *
 * @module
 */
import { lowBits, Mt19937 } from "./torch_random.ts";

/** `torch.Generator().manual_seed(seed)`. */
export function torchGenerator(seed: number | bigint): Mt19937 {
  return new Mt19937(lowBits(seed));
}

/** A float32 of 24 bits in [0, 1). */
const unit = (random: Mt19937): number => (random.next() & 0xffffff) / 2 ** 24;

/** `tensor.uniform_(low, high)` of a float32 tensor. */
export function torchUniform(
  random: Mt19937,
  count: number,
  { low, high }: { readonly low: number; readonly high: number },
): Float32Array {
  const start = Math.fround(low), range = Math.fround(Math.fround(high) - start);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = unit(random) * range + start;
  return values;
}

/** Numbers of one round of Box and Muller. */
const round = 16;

/**
 * `tensor.normal_(0, std)` of a float32 tensor. The last bit may differ: PyTorch takes logarithms and cosines in float32.
 *
 * @throws RangeError for fewer than 16 numbers, which PyTorch draws in another way.
 */
export function torchNormal(random: Mt19937, count: number, std: number): Float32Array {
  if (count < round) {
    throw new RangeError(`Cannot draw ${count} normal numbers as PyTorch does: the rule is ${round} or more`);
  }
  const values = Float32Array.from({ length: count }, () => unit(random));
  const turn = (begin: number): void => {
    for (let i = begin; i < begin + round / 2; i++) {
      const radius = std * Math.sqrt(-2 * Math.log(1 - values[i])),
        angle = 2 * Math.PI * values[i + round / 2];
      values[i] = radius * Math.cos(angle);
      values[i + round / 2] = radius * Math.sin(angle);
    }
  };
  for (let begin = 0; begin + round <= count; begin += round) turn(begin);
  if (count % round > 0) {
    const begin = count - round;
    for (let i = begin; i < count; i++) values[i] = unit(random);
    turn(begin);
  }
  return values;
}

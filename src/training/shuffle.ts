/**
 * Orders that a seed decides, the same in every runtime.
 *
 * @module
 */
import { uniforms } from "../engine/random.ts";

/**
 * A permutation of 0..count-1.
 *
 * @param seed A whole number from 0 to 2^53 - 1.
 * @param round Another permutation of the same seed for each, e.g. an epoch; -1 or more.
 */
export function shuffled(count: number, { seed, round }: { seed: number; round: number }): Uint32Array {
  // Multiplied by odd numbers, so that no small seeds and rounds meet.
  const high = Math.imul(Math.floor(seed / 2 ** 32), 0x85ebca6b);
  const random = uniforms((seed ^ high ^ Math.imul(round + 1, 0x9e3779b1)) >>> 0);
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let left = count; left > 1; left--) {
    // Two draws: 24 bits alone would favour some of many.
    const other = Math.floor((random() + random() / 2 ** 24) * left);
    const moved = order[left - 1];
    order[left - 1] = order[other];
    order[other] = moved;
  }
  return order;
}

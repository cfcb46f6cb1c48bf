/**
 * The mixtures that VB-LoRA's vectors are: from logits, or from the indices and weights of the greatest.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import type { ModuleTensors } from "./module_tensors.ts";

/** What a factor's vectors are made of: for each, `topk` indices into the bank, and their weights. */
export interface Mixtures {
  readonly indices: Int32Array;
  readonly weights: Float64Array;
}

/** Where the greatest of some numbers are, greatest first, the first of equal ones. */
function greatest(values: Float32Array, count: number): number[] {
  if (count > 16) return [...values.keys()].sort((i, j) => values[j] - values[i]).slice(0, count);
  const best: number[] = [];
  for (let j = 0; j < values.length; j++) {
    let at = best.length;
    while (at > 0 && values[j] > values[best[at - 1]]) at--;
    if (at === count) continue;
    best.splice(at, 0, j);
    best.length = Math.min(best.length, count);
  }
  return best;
}

/** The greatest logits of each vector, and their softmax. */
export function mixturesOfLogits(logits: Float32Array, vectors: number, topk: number): Mixtures {
  const count = logits.length / vectors;
  const indices = new Int32Array(count * topk), weights = new Float64Array(count * topk);
  for (let i = 0; i < count; i++) {
    const own = logits.subarray(i * vectors, (i + 1) * vectors), best = greatest(own, topk);
    const powers = best.map((j) => Math.exp(own[j] - own[best[0]]));
    const sum = powers.reduce((so, power) => so + power, 0);
    indices.set(best, i * topk);
    weights.set(powers.map((power) => power / sum), i * topk);
  }
  return { indices, weights };
}

/** The file has every weight but the last, which makes the sum 1. */
export function mixturesOfFile(tensors: ModuleTensors, name: string, topk: number): Mixtures {
  const indices = tensors.integers(`${name}_topk_indices`), given = tensors.floats(`${name}_topk_weights`);
  const vectors = tensors.size("vectors", "vblora_vector_bank");
  const weights = new Float64Array(indices.length);
  const fail = (why: string) => {
    throw new ConfigError(
      `Cannot use adapter tensor "${name}_topk_indices" of module "${tensors.path}": ${why}`,
    );
  };
  for (let i = 0; i < indices.length; i++) {
    const begin = i - i % topk, before = weights.subarray(begin, i);
    weights[i] = before.length < topk - 1
      ? given[begin / topk * (topk - 1) + before.length]
      : 1 - before.reduce((sum, weight) => sum + weight, 0);
    if (indices[i] < 0 || indices[i] >= vectors) {
      fail(`element ${i} is ${indices[i]}, the bank has ${vectors} vectors`);
    }
    if (indices.subarray(begin, i).includes(indices[i])) fail(`element ${i}, ${indices[i]}, comes twice`);
    // The others' sum may be a float32 rounding past 1.
    if (weights[i] < -1e-6 || weights[i] > 1) {
      fail(`the weight of element ${i} is ${weights[i]}, not in 0 to 1`);
    }
  }
  return { indices, weights };
}

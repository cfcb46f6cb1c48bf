/**
 * A dense product and distances, in float64, sharing no code with the kernels.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { LinearShape } from "../mod.ts";

/** x (rows, in) times a weight (out, in), transposed: (rows, out). */
export function naiveProduct(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  shape: LinearShape,
): Float64Array {
  const { out, in: inFeatures } = shape;
  const y = new Float64Array(x.length / inFeatures * out);
  for (let i = 0; i < y.length; i++) {
    const row = Math.floor(i / out);
    const o = i % out;
    for (let q = 0; q < inFeatures; q++) y[i] += x[row * inFeatures + q] * weight[o * inFeatures + q];
  }
  return y;
}

/** The Frobenius norm. */
export function norm(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] ** 2;
  return Math.sqrt(sum);
}

/** Asserts that two arrays differ by at most `within`, in the Frobenius norm. NaN is far from everything. */
export function assertNear(actual: ArrayLike<number>, expected: ArrayLike<number>, within: number): void {
  assert.equal(actual.length, expected.length);
  const difference = norm(Float64Array.from({ length: actual.length }, (_, i) => actual[i] - expected[i]));
  assert.ok(difference <= within, `differs by ${difference}, allowed are ${within}`);
}

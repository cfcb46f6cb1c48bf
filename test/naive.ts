/**
 * FourierFT by its definition, in float64, sharing no code with the kernels.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { LinearShape, Spectrum } from "../mod.ts";
import { frequencies } from "../kernels/mod.ts";

/** Cosine and sine of 2 pi k / length. */
function circle(length: number): { cos: Float64Array; sin: Float64Array } {
  const angles = Float64Array.from({ length }, (_, k) => 2 * Math.PI * k / length);
  return { cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
}

/** The real part of the inverse DFT of the spectrum's dense matrix, times scaling: first over u, then over v. */
export function naiveDelta({ coefficients, seed, scaling }: Spectrum, shape: LinearShape): Float64Array {
  const { out, in: inFeatures } = shape;
  const { u, v } = frequencies(coefficients.length, shape, { seed });
  const rows = circle(out);
  const columns = circle(inFeatures);
  const re = new Float64Array(out * inFeatures);
  const im = new Float64Array(out * inFeatures);
  for (let l = 0; l < coefficients.length; l++) {
    for (let p = 0; p < out; p++) {
      const turn = p * u[l] % out;
      re[p * inFeatures + v[l]] += coefficients[l] * rows.cos[turn];
      im[p * inFeatures + v[l]] += coefficients[l] * rows.sin[turn];
    }
  }
  const used = [...new Set(v)];
  const delta = new Float64Array(out * inFeatures);
  for (let p = 0; p < out; p++) {
    for (let q = 0; q < inFeatures; q++) {
      let sum = 0;
      for (const bin of used) {
        const turn = q * bin % inFeatures;
        sum += re[p * inFeatures + bin] * columns.cos[turn] - im[p * inFeatures + bin] * columns.sin[turn];
      }
      delta[p * inFeatures + q] = scaling / (out * inFeatures) * sum;
    }
  }
  return delta;
}

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

/** Norm that dW has when no two of its waves are the same. */
export function usualNorm({ coefficients, scaling }: Spectrum, { out, in: inFeatures }: LinearShape): number {
  return Math.abs(scaling) * norm(coefficients) / Math.sqrt(out * inFeatures);
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

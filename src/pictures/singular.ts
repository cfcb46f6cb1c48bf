/**
 * The singular values of dW, from its factors.
 *
 * @module
 */
import type { Factors } from "../adapters/method.ts";
import { svd } from "../adapters/svd.ts";
import { inSlices } from "../breathe.ts";

/**
 * The singular values of scale B A, descending: min(rank, out, in) of them. dW has no others but zeros.
 *
 * @throws the signal's reason, between the parts of the work.
 */
export async function singularValues(
  { a, b, rank, in: inSize, out, scale }: Factors,
  signal?: AbortSignal,
): Promise<Float64Array> {
  // A = U S V^T with orthonormal rows of V^T: B A has the singular values of B U S.
  const inner = await svd(a, { out: rank, in: inSize });
  const n = Math.min(rank, inSize), left = new Float64Array(out * n);
  function* multiplying(): Iterable<void> {
    for (let o = 0; o < out; o++) {
      for (let k = 0; k < n; k++) {
        let sum = 0;
        for (let r = 0; r < rank; r++) sum += b[o * rank + r] * inner.u[k * rank + r];
        left[o * n + k] = scale * sum * inner.s[k];
      }
      yield;
    }
  }
  await inSlices(multiplying(), signal);
  return (await svd(left, { out, in: n })).s;
}

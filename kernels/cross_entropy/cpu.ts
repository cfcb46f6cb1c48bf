/**
 * The output projection and cross-entropy on the host: the specification, and one core at speed.
 *
 * @module
 */
import type { WeightFormat } from "../formats/format.ts";
import type { Arrays } from "../kernel.ts";
import { product } from "../linear/cpu.ts";
import { transposedProduct } from "../linear/transposed_cpu.ts";
import { softcapped, softcapSlope } from "../softcap.ts";
import type { Sizes } from "./launch.ts";

/** One row at a time by its definition; without an array `dhidden`, losses alone. */
export function crossEntropyReference(format: WeightFormat, arrays: Arrays, sizes: Sizes): void {
  const { hidden, targets, losses, dhidden, ...stored } = arrays;
  const { rows, dim, vocab, scale, softcap } = sizes;
  const weight = format.rows(stored, { in: dim, out: vocab });
  for (let r = 0; r < rows; r++) {
    const logits = Array.from({ length: vocab }, (_, token) => {
      let sum = 0;
      for (let i = 0; i < dim; i++) sum += hidden[r * dim + i] * weight[token * dim + i];
      return softcap > 0 ? softcapped(sum, softcap) : sum;
    });
    const wanted = targets[r] < vocab;
    const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    const logSumExp = max + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
    losses[r] = wanted ? logSumExp - logits[targets[r]] : 0;
    if (!dhidden) continue;
    for (let i = 0; i < dim; i++) {
      const sum = logits.reduce((sum, logit, token) => {
        const rest = Math.exp(logit - logSumExp) - (token === targets[r] ? 1 : 0);
        const passed = softcap > 0 ? softcapSlope(logit, softcap) : 1;
        return sum + passed * rest * weight[token * dim + i];
      }, 0);
      dhidden[r * dim + i] = wanted ? scale * sum : 0;
    }
  }
}

/** Rows whose logits a core holds at once, few enough for its cache. */
const rowsAtOnce = (vocab: number): number => Math.max(2, Math.min(64, Math.floor(2 ** 19 / vocab)));

/** The loss of one row of logits, which give way to its gradient: probabilities less 1 at the target, by the cap's slope. */
function rowLoss(logits: Float32Array, token: number, softcap: number): number {
  if (softcap > 0) return cappedRowLoss(logits, token, softcap);
  let max = -Infinity, sum = 0;
  for (let i = 0; i < logits.length; i++) if (logits[i] > max) max = logits[i];
  const loss = max - logits[token];
  for (let i = 0; i < logits.length; i++) sum += logits[i] = Math.exp(logits[i] - max);
  const inverse = 1 / sum;
  for (let i = 0; i < logits.length; i++) logits[i] *= inverse;
  logits[token] -= 1;
  return loss + Math.log(sum);
}

function cappedRowLoss(logits: Float32Array, token: number, softcap: number): number {
  const slopes = logits.map((logit, i) => softcapSlope(logits[i] = softcapped(logit, softcap), softcap));
  const loss = rowLoss(logits, token, 0);
  for (let i = 0; i < logits.length; i++) logits[i] *= slopes[i];
  return loss;
}

/** Rows with a target only, some at a time, gathered; without an array `dhidden`, losses alone. */
export function crossEntropyCpu(format: WeightFormat, arrays: Arrays, sizes: Sizes): void {
  const { hidden: from, targets, losses, dhidden, ...stored } = arrays;
  const { rows, dim, vocab, scale, softcap } = sizes;
  const hidden = from as Float32Array, weight = format.rows(stored, { in: dim, out: vocab });
  losses.fill(0, 0, rows);
  dhidden?.fill(0, 0, rows * dim);
  const wanted = Array.from({ length: rows }, (_, r) => r).filter((r) => targets[r] < vocab);
  const most = Math.min(wanted.length, rowsAtOnce(vocab));
  const x = new Float32Array(most * dim), dx = new Float32Array(most * dim);
  const logits = new Float32Array(most * vocab);
  for (let begin = 0; begin < wanted.length; begin += most) {
    const chunk = wanted.slice(begin, begin + most);
    chunk.forEach((r, i) => x.set(hidden.subarray(r * dim, (r + 1) * dim), i * dim));
    const count = chunk.length;
    product({ x, weight, y: logits }, { rows: count, inSize: dim, outSize: vocab, accumulate: false });
    chunk.forEach((r, i) => {
      losses[r] = rowLoss(logits.subarray(i * vocab, (i + 1) * vocab), targets[r], softcap);
    });
    if (!dhidden) continue;
    transposedProduct(
      { x: logits, weight, y: dx },
      { rows: count, inner: vocab, columns: dim, factor: scale, accumulate: false },
    );
    chunk.forEach((r, i) => dhidden.set(dx.subarray(i * dim, (i + 1) * dim), r * dim));
  }
}

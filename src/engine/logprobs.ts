/**
 * Log-probabilities from logits, on the host, for the requests that ask for them.
 *
 * @module
 */
import type { TokenLogprobs } from "./generate.ts";

/** The natural log-probability of `token`, and the `count` most likely tokens (ties: lower id first). */
export function logprobsOf(logits: Float32Array, token: number, count: number): TokenLogprobs {
  let highest = -Infinity;
  for (const value of logits) highest = Math.max(highest, value);
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - highest);
  const shift = highest + Math.log(sum);
  const top: { tokenId: number; logprob: number }[] = [];
  for (let id = 0; id < logits.length; id++) {
    const logprob = logits[id] - shift;
    if (top.length === count && (count === 0 || logprob <= top[count - 1].logprob)) continue;
    let at = top.length;
    while (at > 0 && top[at - 1].logprob < logprob) at--;
    top.splice(at, 0, { tokenId: id, logprob });
    if (top.length > count) top.pop();
  }
  return { logprob: logits[token] - shift, top };
}

/**
 * A model's parameter with an adapter's own in its place, on the host.
 *
 * @module
 */
import { narrow, widen } from "../../kernels/half.ts";
import type { HostTensor } from "../tensor.ts";
import type { Replacement } from "./replacements.ts";

/** Numbers rounded once to a tensor's own dtype. */
export function roundedAs(numbers: Float32Array, t: HostTensor): HostTensor {
  return { ...t, data: narrow(numbers, t.dtype) };
}

/** The parameter, and its numbers with some of its rows, or with factors added; in the parameter's own dtype. */
export function mergedParameter(stored: HostTensor, replacement: Replacement): HostTensor {
  if (replacement.kind === "whole") {
    const { data, dtype } = replacement.data;
    return dtype === stored.dtype ? { ...stored, data } : roundedAs(widen(data, dtype), stored);
  }
  const numbers = widen(stored.data, stored.dtype).slice();
  if (replacement.kind === "rows") {
    const { ids, values, width } = replacement;
    ids.forEach((id, i) => numbers.set(values.subarray(i * width, (i + 1) * width), id * width));
    return roundedAs(numbers, stored);
  }
  const { a, b, rank, scale } = replacement, width = b.length / rank;
  for (let at = 0; at < numbers.length; at++) {
    const row = Math.floor(at / width) * rank, column = (at % width) * rank;
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += a[row + k] * b[column + k];
    numbers[at] += scale * sum;
  }
  return roundedAs(numbers, stored);
}

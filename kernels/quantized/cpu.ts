/**
 * Products by a quantised weight on the host: the specification, and one core in plain TypeScript.
 *
 * @module
 */
import type { TypedArray } from "../kernel.ts";
import { product } from "../linear/cpu.ts";
import { dequantize, type QuantizedArrays } from "./format.ts";
import { shapeOf, type Sizes } from "./launch.ts";

/** Arrays of a call; the scales are float32 on a host. */
export interface QuantizedLinearArrays {
  readonly x: TypedArray;
  readonly words: TypedArray;
  readonly scales: TypedArray;
  readonly y: TypedArray;
}

/** The weight's arrays with their types. */
export function weightArrays(
  { words, scales }: Pick<QuantizedLinearArrays, "words" | "scales">,
): QuantizedArrays {
  return { words: words as Uint32Array, scales: scales as Float32Array };
}

/** Rows of the weight that are made float32 at once: few enough for the first cache. */
const linesAtOnce = (inSize: number): number => Math.max(4, Math.min(64, 4 * Math.floor(2048 / inSize)));

/** y (rows, out) = or += x (rows, in) W^T: some rows of W are made float32, and serve all rows of x. */
export function quantizedProduct({ x, y, ...weight }: QuantizedLinearArrays, sizes: Sizes): void {
  const shape = shapeOf(sizes), arrays = weightArrays(weight);
  const { rows, in: inSize, out, accumulate } = sizes;
  const most = Math.min(out, linesAtOnce(inSize));
  const lines = new Float32Array(most * inSize), part = new Float32Array(rows * most);
  for (let begin = 0; begin < out; begin += most) {
    const end = Math.min(out, begin + most), count = end - begin;
    dequantize(arrays, shape, { begin, end, into: lines });
    product({ x: x as Float32Array, weight: lines, y: part }, {
      rows,
      inSize,
      outSize: count,
      accumulate: false,
    });
    for (let r = 0; r < rows; r++) {
      for (let o = 0; o < count; o++) {
        const i = r * out + begin + o;
        y[i] = part[r * count + o] + (accumulate ? y[i] : 0);
      }
    }
  }
}

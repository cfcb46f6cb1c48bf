/**
 * Products by a weight of any format on the host: x W^T of one core, in plain TypeScript.
 *
 * @module
 */
import type { ProductSizes, WeightArrays, WeightFormat } from "../formats/format.ts";
import type { TypedArray } from "../kernel.ts";
import { product } from "./cpu.ts";

/** x and y of a product. */
export interface ProductArrays {
  readonly x: TypedArray;
  readonly y: TypedArray;
}

/** Up to here rows are multiplied one by one, with the numbers as they are stored. */
const fewRows = 3;

/** Rows of the weight that are made float32 at once: few enough for the first cache. */
const linesAtOnce = (inSize: number): number => Math.max(4, Math.min(64, 4 * Math.floor(2048 / inSize)));

/** Some rows of the weight are made float32, and serve all rows of x. */
function byLines(
  format: WeightFormat,
  { x, y, ...weight }: ProductArrays & WeightArrays,
  sizes: ProductSizes,
) {
  const { rows, in: inSize, out, accumulate } = sizes;
  const most = Math.min(out, linesAtOnce(inSize));
  const lines = new Float32Array(most * inSize), part = new Float32Array(rows * most);
  for (let begin = 0; begin < out; begin += most) {
    const end = Math.min(out, begin + most), count = end - begin;
    format.rows(weight, sizes, { begin, end, into: lines });
    const size = { rows, inSize, outSize: count, accumulate: false };
    product({ x: x as Float32Array, weight: lines, y: part }, size);
    for (let r = 0; r < rows; r++) {
      for (let o = 0; o < count; o++) {
        const i = r * out + begin + o;
        y[i] = part[r * count + o] + (accumulate ? y[i] : 0);
      }
    }
  }
}

/** y (rows, out) = or += x (rows, in) W^T. */
export function multiply(
  format: WeightFormat,
  arrays: ProductArrays & WeightArrays,
  sizes: ProductSizes,
): void {
  const { rows, in: inSize, out, accumulate } = sizes, { x, y, ...weight } = arrays;
  const floats = format.floats?.(weight);
  if (floats) {
    const size = { rows, inSize, outSize: out, accumulate: accumulate !== 0 };
    return product({ x: x as Float32Array, weight: floats, y: y as Float32Array }, size);
  }
  if (rows > fewRows || !format.multiplyRow) return byLines(format, arrays, sizes);
  const filled = new Float32Array(Math.ceil(inSize / format.block) * format.block);
  for (let r = 0; r < rows; r++) {
    filled.set((x as Float32Array).subarray(r * inSize, (r + 1) * inSize));
    format.multiplyRow({ x: filled, y, at: r * out, accumulate: accumulate !== 0 }, weight, sizes);
  }
}

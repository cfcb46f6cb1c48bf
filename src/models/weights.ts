/**
 * A linear's weight on a device, as it is stored or quantised, and the steps that multiply by it.
 *
 * @module
 */
import { widen } from "../../kernels/half.ts";
import { linear } from "../../kernels/linear.ts";
import { linearBias } from "../../kernels/linear_bias.ts";
import { type Bits, blocksOf, quantize, wordsOf } from "../../kernels/quantized/format.ts";
import { quantizedLinear } from "../../kernels/quantized_linear.ts";
import { quantizedLinearBias } from "../../kernels/quantized_linear_bias.ts";
import { quantizedRowSquares } from "../../kernels/quantized_row_squares.ts";
import { rowSquares } from "../../kernels/row_squares.ts";
import { ConfigError } from "../errors.ts";
import { type Step, step } from "../plan.ts";
import { type HostTensor, slice, type Tensor, tensor } from "../tensor.ts";

/** A weight (out, in) of whole numbers of 8 or 4 bits and their scales: see the kernels' format. */
export interface QuantizedWeight<T extends Tensor = Tensor> {
  readonly bits: Bits;
  /** (out, ceil(in / 32) * bits), uint32. */
  readonly words: T;
  /** (out, ceil(in / 32)), bfloat16; float32 on a CPU. */
  readonly scales: T;
}

/** A weight (out, in): floats, or quantised. */
export type Weight<T extends Tensor = Tensor> = T | QuantizedWeight<T>;

/** What a linear multiplies by, and adds. */
export interface LinearWeights {
  readonly weight: Weight;
  readonly bias?: Tensor;
}

/** Whether a weight is quantised. */
export function isQuantized<T extends Tensor>(weight: Weight<T>): weight is QuantizedWeight<T> {
  return "words" in weight;
}

/** The tensors of a linear, to be freed. */
export function tensorsOf({ weight, bias }: LinearWeights): Tensor[] {
  const tensors = isQuantized(weight) ? [weight.words, weight.scales] : [weight];
  return bias ? [...tensors, bias] : tensors;
}

/** The shapes of the two tensors of a quantised weight (out, in). */
export function quantizedShapes(
  [out, inSize]: readonly [out: number, inSize: number],
  bits: Bits,
): { readonly words: readonly number[]; readonly scales: readonly number[] } {
  return { words: [out, wordsOf({ in: inSize, bits })], scales: [out, blocksOf(inSize)] };
}

function named<T>(name: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ConfigError(`Cannot use weight "${name}": ${error.message}`, { cause: error });
  }
}

/**
 * Quantises a weight (out, in) of floats.
 *
 * @throws ConfigError where an element is NaN or infinite.
 */
export function quantizeTensor(
  { data, dtype, shape }: HostTensor,
  { name, bits }: { readonly name: string; readonly bits: Bits },
): QuantizedWeight<HostTensor> {
  const [out, inSize] = shape;
  const { words, scales } = named(name, () => quantize(widen(data, dtype), { out, in: inSize, bits }));
  const shapes = quantizedShapes([out, inSize], bits);
  return {
    bits,
    words: tensor(words, shapes.words),
    scales: tensor(scales, shapes.scales, { dtype: "bfloat16" }),
  };
}

/** `out` rows of a weight from row `at` on, not copied. */
export function rowsOf(weight: Weight, { at, out }: { readonly at: number; readonly out: number }): Weight {
  const part = (t: Tensor): Tensor => slice(t, at * t.shape[1], [out, t.shape[1]]);
  if (!isQuantized(weight)) return part(weight);
  return { bits: weight.bits, words: part(weight.words), scales: part(weight.scales) };
}

/** y = or += x W^T (+ b). */
export function linearStep(
  { weight, bias }: LinearWeights,
  { x, y }: { readonly x: Tensor; readonly y: Tensor },
  sizes: { readonly rows: number; readonly in: number; readonly out: number; readonly accumulate: number },
): Step {
  if (isQuantized(weight)) {
    const { bits, ...weights } = weight;
    return bias
      ? step(quantizedLinearBias, { x, ...weights, bias, y }, { ...sizes, bits })
      : step(quantizedLinear, { x, ...weights, y }, { ...sizes, bits });
  }
  return bias ? step(linearBias, { x, weight, bias, y }, sizes) : step(linear, { x, weight, y }, sizes);
}

/** squares (out) = the sum of squares of each row of W. */
export function rowSquaresStep(
  weight: Weight,
  squares: Tensor,
  { out, in: inSize }: { readonly out: number; readonly in: number },
): Step {
  if (!isQuantized(weight)) return step(rowSquares, { weight, squares }, { rows: out, dim: inSize });
  const { bits, ...weights } = weight;
  return step(quantizedRowSquares, { ...weights, squares }, { rows: out, dim: inSize, bits });
}

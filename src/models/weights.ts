/**
 * A linear's weight, of any format, on a device or a host, and the steps that multiply by it.
 *
 * @module
 */
import { dense } from "../../kernels/formats/mod.ts";
import type { WeightFormat } from "../../kernels/formats/format.ts";
import { widen } from "../../kernels/half.ts";
import { linear } from "../../kernels/linear.ts";
import { linearBias } from "../../kernels/linear_bias.ts";
import { linearTransposed } from "../../kernels/linear_transposed.ts";
import { rowSquares } from "../../kernels/row_squares.ts";
import type { LinearShape } from "../adapters/method.ts";
import { ConfigError } from "../errors.ts";
import { type Step, step } from "../plan.ts";
import { type HostTensor, slice, type Tensor, tensor } from "../tensor.ts";

/** A weight (out, in): its format, and the tensors of its format's buffers, each with `out` lines. */
export interface Weight<T extends Tensor = Tensor> {
  readonly format: WeightFormat;
  readonly shape: LinearShape;
  readonly tensors: Readonly<Record<string, T>>;
}

/** What a linear multiplies by, and adds. */
export interface LinearWeights {
  readonly weight: Weight;
  readonly bias?: Tensor;
}

/** A tensor (out, in) of floats as a weight. */
export function denseWeight<T extends Tensor>(weight: T): Weight<T> {
  const [out, inSize] = weight.shape;
  return { format: dense, shape: { out, in: inSize }, tensors: { weight } };
}

/** The tensor (out, in) of a weight of floats; undefined for other formats. */
export function floatsOf<T extends Tensor>({ format, tensors }: Weight<T>): T | undefined {
  return format === dense ? tensors.weight : undefined;
}

/** Shapes of the tensors of a weight. */
export function tensorShapes(
  format: WeightFormat,
  { out, in: inSize }: LinearShape,
): Readonly<Record<string, readonly number[]>> {
  const elements = Object.entries(format.rowElements(inSize));
  return Object.fromEntries(elements.map(([name, count]) => [name, [out, count]]));
}

/** A weight with other tensors in place of its own. */
export function withTensors<T extends Tensor, U extends Tensor>(
  { format, shape, tensors }: Weight<T>,
  make: (t: T) => U,
): Weight<U> {
  const made = Object.entries(tensors).map(([name, t]) => [name, make(t)]);
  return { format, shape, tensors: Object.fromEntries(made) };
}

/** A weight's numbers as float32, exactly: (out, in). */
export function widened({ format, shape, tensors }: Weight<HostTensor>): HostTensor {
  const held = Object.entries(tensors).map(([name, { data, dtype }]) =>
    [name, dtype === "float16" || dtype === "bfloat16" ? widen(data, dtype) : data] as const
  );
  return tensor(format.rows(Object.fromEntries(held), shape), [shape.out, shape.in]);
}

/** `out` rows of a weight from row `at` on, not copied. */
export function rowsOf(weight: Weight, { at, out }: { readonly at: number; readonly out: number }): Weight {
  const part = withTensors(weight, (t) => slice(t, at * t.shape[1], [out, t.shape[1]]));
  return { ...part, shape: { ...weight.shape, out } };
}

/**
 * A weight (out, in) of floats in another format.
 *
 * @throws ConfigError where an element is NaN or infinite.
 */
export function quantizeTensor(
  { data, dtype, shape: [out, inSize] }: HostTensor,
  { name, format }: { readonly name: string; readonly format: WeightFormat },
): Weight<HostTensor> {
  const shape = { out, in: inSize }, shapes = tensorShapes(format, shape);
  try {
    const packed = Object.entries(format.pack(widen(data, dtype), shape));
    const tensors = packed.map(([name, numbers]) =>
      [name, tensor(numbers, shapes[name], { dtype: format.buffers[name].dtypes[0] })] as const
    );
    return { format, shape, tensors: Object.fromEntries(tensors) };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ConfigError(`Cannot use weight "${name}": ${error.message}`, { cause: error });
  }
}

/**
 * A weight of floats in another format.
 *
 * @throws ConfigError where it has a format with blocks already: its numbers would be rounded twice.
 */
export function quantizeWeight(
  weight: Weight<HostTensor>,
  to: { readonly name: string; readonly format: WeightFormat },
): Weight<HostTensor> {
  const host = floatsOf(weight);
  if (host) return quantizeTensor(host, to);
  throw new ConfigError(
    `Cannot quantize weight "${to.name}" as ${to.format.name}: its file has it as ${weight.format.name} already`,
  );
}

/** y = or += x W^T (+ b). */
export function linearStep(
  { weight: { format, tensors }, bias }: LinearWeights,
  { x, y }: { readonly x: Tensor; readonly y: Tensor },
  sizes: { readonly rows: number; readonly in: number; readonly out: number; readonly accumulate: number },
): Step {
  return bias
    ? step(linearBias.of(format), { x, ...tensors, bias, y }, sizes)
    : step(linear.of(format), { x, ...tensors, y }, sizes);
}

/** dx = dy W, or += where `accumulate` is not 0: the gradient of x in y = x W^T. */
export function linearBackwardStep(
  { format, tensors }: Weight,
  { dy, dx }: { readonly dy: Tensor; readonly dx: Tensor },
  sizes: { readonly rows: number; readonly in: number; readonly out: number; readonly accumulate: number },
): Step {
  return step(linearTransposed.of(format), { dy, ...tensors, dx }, sizes);
}

/** squares (out) = the sum of squares of each row of W. */
export function rowSquaresStep({ format, tensors }: Weight, squares: Tensor, shape: LinearShape): Step {
  return step(rowSquares.of(format), { ...tensors, squares }, { rows: shape.out, dim: shape.in });
}

/**
 * A linear's weight, of any format, on a device or a host, and the steps that multiply by it.
 *
 * @module
 */
import { dense } from "../../kernels/formats/mod.ts";
import type { WeightFormat } from "../../kernels/formats/format.ts";
import { widen } from "../../kernels/half.ts";
import { embedding } from "../../kernels/embedding.ts";
import { linear } from "../../kernels/linear.ts";
import { linearBias } from "../../kernels/linear_bias.ts";
import { linearTransposed } from "../../kernels/linear_transposed.ts";
import { rowSquares } from "../../kernels/row_squares.ts";
import type { LinearShape } from "../adapters/method.ts";
import type { Device, TensorUse } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { type Step, step } from "../plan.ts";
import { bytesPerElement, type HostTensor, slice, type Tensor, tensor } from "../tensor.ts";

/** A weight (out, in): its format, and the tensors of its format's buffers, each with `out` lines. */
export interface Weight<T extends Tensor = Tensor> {
  readonly format: WeightFormat;
  readonly shape: LinearShape;
  readonly tensors: Readonly<Record<string, T>>;
  /** Where one buffer does not hold it: its rows in parts, one after the other. Then it has no tensors of its own. */
  readonly parts?: readonly Weight<T>[];
}

/** A part of a weight, and its first row. */
export interface WeightPart<T extends Tensor = Tensor> {
  readonly at: number;
  readonly part: Weight<T>;
}

/** The parts of a weight, in order; of most it is all of it. */
export function partsOf<T extends Tensor>(weight: Weight<T>): WeightPart<T>[] {
  let at = 0;
  return (weight.parts ?? [weight]).map((part) => {
    const begin = at;
    at += part.shape.out;
    return { at: begin, part };
  });
}

/**
 * A weight of whose tensors steps are made.
 *
 * @throws RangeError for one in parts.
 */
function whole<T extends Tensor>(weight: Weight<T>): Weight<T> {
  const { parts, shape } = weight;
  if (!parts) return weight;
  throw new RangeError(
    `Cannot take a weight of (${shape.out}, ${shape.in}) as one: it is in ${parts.length} parts, since no buffer of the ` +
      "device holds it",
  );
}

/** The rows of a weight in parts that buffers of a device hold; itself where one does. */
export function inParts(
  weight: Weight<HostTensor>,
  { maxTensorBytes, heldType = (dtype) => dtype }: Pick<Device, "maxTensorBytes" | "heldType">,
): Weight<HostTensor> {
  const { format, shape, tensors } = weight;
  const rowBytes = Math.max(
    ...Object.values(tensors).map(({ dtype, shape: [, columns] }) =>
      columns * bytesPerElement[heldType(dtype, useOf(format))]
    ),
  );
  const most = Math.floor(maxTensorBytes / rowBytes);
  if (most >= shape.out || most < 1) return weight;
  const even = Math.ceil(shape.out / Math.ceil(shape.out / most));
  // A multiple of what a GPU binds from, where there is the room.
  const rows = Math.min(most, even + (64 - even % 64) % 64);
  const starts = Array.from({ length: Math.ceil(shape.out / rows) }, (_, i) => i * rows);
  return {
    ...{ format, shape, tensors: {} },
    parts: starts.map((at) => {
      const out = Math.min(rows, shape.out - at);
      const part = withTensors(
        weight,
        ({ data, dtype, shape: [, columns] }) =>
          tensor(data.subarray(at * columns, (at + out) * columns), [out, columns], { dtype }),
      );
      return { ...part, shape: { ...shape, out } };
    }),
  };
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

/** What the tensors of a weight are uploaded for: numbers themselves are a weight, scales of blocks are not. */
export const useOf = (format: WeightFormat): TensorUse | undefined => format === dense ? "weight" : undefined;

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
  { format, shape, tensors, parts }: Weight<T>,
  make: (t: T) => U,
): Weight<U> {
  const made = Object.entries(tensors).map(([name, t]) => [name, make(t)]);
  const whole = { format, shape, tensors: Object.fromEntries(made) };
  return parts ? { ...whole, parts: parts.map((part) => withTensors(part, make)) } : whole;
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
  const part = withTensors(whole(weight), (t) => slice(t, at * t.shape[1], [out, t.shape[1]]));
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

/** y = or += x W^T (+ b). Throws RangeError for a weight in parts. */
export function linearStep(
  { weight, bias }: LinearWeights,
  { x, y }: { readonly x: Tensor; readonly y: Tensor },
  sizes: { readonly rows: number; readonly in: number; readonly out: number; readonly accumulate: number },
): Step {
  const { format, tensors } = whole(weight);
  return bias
    ? step(linearBias.of(format), { x, ...tensors, bias, y }, sizes)
    : step(linear.of(format), { x, ...tensors, y }, sizes);
}

/** dx = dy W, or += where `accumulate` is not 0: the gradient of x in y = x W^T. Throws RangeError for a weight in parts. */
export function linearBackwardStep(
  weight: Weight,
  { dy, dx }: { readonly dy: Tensor; readonly dx: Tensor },
  sizes: { readonly rows: number; readonly in: number; readonly out: number; readonly accumulate: number },
): Step {
  const { format, tensors } = whole(weight);
  return step(linearTransposed.of(format), { dy, ...tensors, dx }, sizes);
}

/** squares (out) = the sum of squares of each row of W. Throws RangeError for a weight in parts. */
export function rowSquaresStep(weight: Weight, squares: Tensor, shape: LinearShape): Step {
  const { format, tensors } = whole(weight);
  return step(rowSquares.of(format), { ...tensors, squares }, { rows: shape.out, dim: shape.in });
}

/** y (count, in), float32 = rows of W by ids (count). Throws RangeError for a weight in parts. */
export function rowsStep(
  weight: Weight,
  { ids, y, count }: { readonly ids: Tensor; readonly y: Tensor; readonly count: number },
  shape: LinearShape,
): Step {
  const { format, tensors } = whole(weight);
  return step(embedding.of(format), { ids, ...tensors, y }, {
    rows: count,
    dim: shape.in,
    vocab: shape.out,
  });
}

/**
 * The numbers of a head: new ones as transformers draws them, or those of a folder or an adapter.
 *
 * @module
 */
import { widen } from "../../kernels/half.ts";
import { normals } from "../../kernels/kernel.ts";
import { ConfigError } from "../errors.ts";
import type { ClassifierLinear } from "../models/family.ts";
import { type HostTensor, tensor } from "../tensor.ts";
import type { OwnNumbers } from "./objective.ts";

/** A linear of a head, with its shape. */
export interface HeadLinear extends ClassifierLinear {
  readonly in: number;
  readonly out: number;
}

/** A head's numbers, and where each linear's are among them. */
export interface HeadNumbers extends OwnNumbers {
  readonly linears: readonly HeadLinear[];
  readonly at: readonly { readonly weight: number; readonly bias: number }[];
}

/** Standard deviation of new weights: `initializer_range` of the models' configs. */
const deviation = 0.02;

/** Bound buffers start at multiples of 256 bytes. */
const alignment = 64;

/** The linears of a classifier for so many labels. */
export function headLinears(
  classifier: readonly ClassifierLinear[],
  { hiddenSize, labels }: { readonly hiddenSize: number; readonly labels: number },
): readonly HeadLinear[] {
  return classifier.map((linear) => ({ ...linear, in: hiddenSize, out: linear.last ? labels : hiddenSize }));
}

/** New parameters by name: weights are normal, biases 0. */
export function newHead(linears: readonly HeadLinear[], random: () => number): Map<string, HostTensor> {
  return new Map(linears.flatMap(({ path, in: inSize, out }) => [
    [`${path}.weight`, tensor(normals(out * inSize, random, deviation), [out, inSize])],
    [`${path}.bias`, tensor(new Float32Array(out))],
  ]));
}

/** A parameter as float32; throws ConfigError where it is missing or of another shape. */
function numbersOf(
  parameters: ReadonlyMap<string, HostTensor>,
  name: string,
  shape: readonly number[],
): Float32Array {
  const found = parameters.get(name);
  if (!found) throw new ConfigError(`Cannot train from a head without "${name}"`);
  if (found.shape.join() === shape.join()) return widen(found.data, found.dtype);
  throw new ConfigError(
    `Cannot train from the head's "${name}" of shape [${found.shape}]: the labels make it [${shape}]`,
  );
}

/**
 * A head's parameters one after the other.
 *
 * @param nameOf A parameter's name in the adapter's file, by its name in the model.
 * @throws ConfigError for a parameter that is missing or of another shape.
 */
export function headNumbers(
  linears: readonly HeadLinear[],
  parameters: ReadonlyMap<string, HostTensor>,
  nameOf: (parameter: string) => string,
): HeadNumbers {
  const parts: { readonly name: string; readonly at: number; readonly shape: readonly number[] }[] = [];
  const values: number[] = [];
  let count = 0;
  const place = (name: string, shape: readonly number[]): number => {
    const at = values.length, numbers = numbersOf(parameters, name, shape);
    for (const number of numbers) values.push(number);
    while (values.length % alignment !== 0) values.push(0);
    parts.push({ name, at, shape });
    count += numbers.length;
    return at;
  };
  const at = linears.map(({ path, in: inSize, out }) => ({
    weight: place(`${path}.weight`, [out, inSize]),
    bias: place(`${path}.bias`, [out]),
  }));
  return {
    linears,
    at,
    values: Float32Array.from(values),
    parameters: count,
    tensors: (values) =>
      new Map(parts.map(({ name, at, shape }) => {
        const length = shape.reduce((product, size) => product * size, 1);
        return [nameOf(name), tensor(values.slice(at, at + length), shape)];
      })),
  };
}

/**
 * How other programs store quantised weights in safetensors: several tensors in place of a linear's weight.
 *
 * @module
 */
import type { LinearShape } from "../../adapters/method.ts";
import { ConfigError } from "../../errors.ts";
import { dtypeBits, type TensorInfo, type TensorView } from "../../safetensors/mod.ts";
import { elements, type HostTensor } from "../../tensor.ts";
import type { Weight } from "../weights.ts";

/** The tensors of a folder's files as they are stored, by the model's names. */
export interface StoredTensors {
  readonly names: ReadonlySet<string>;
  /** Throws ConfigError for an unknown name. */
  info(name: string): Pick<TensorInfo, "dtype" | "shape">;
  /** Throws ConfigError for an unknown name. */
  view(name: string): Promise<TensorView>;
}

/** Bytes of a tensor as it is stored. */
export function storedBytes({ dtype, shape }: Pick<TensorInfo, "dtype" | "shape">): number {
  return Math.ceil(dtypeBits[dtype] * elements(shape) / 8);
}

/** A weight in a format of ours. */
export interface Unpacked {
  readonly weight: Weight<HostTensor>;
  /** Why no format with blocks has its numbers: they are float32 then. */
  readonly widened?: string;
}

/** A linear's weight that several tensors say. */
export interface PackedWeight {
  readonly shape: LinearShape;
  /** Names of its tensors. */
  readonly tensors: readonly string[];
  /** Reads it; throws ConfigError where the tensors do not fit together. */
  read(): Promise<Unpacked>;
}

/** A way to store quantised weights, as config.json's `quantization_config` says. */
export interface Packing {
  /** `quant_method`. */
  readonly method: string;
  /** A linear's path in the name of the one tensor that says that its weight is packed. */
  readonly mark: RegExp;
  /** The weight of such a linear. */
  open(tensors: StoredTensors, path: string): Promise<PackedWeight>;
}

/** Throws a ConfigError of a packed weight. */
export function failWeight(path: string, why: string): never {
  throw new ConfigError(`Cannot use weight "${path}.weight": ${why}`);
}

/** Checks the shape of one of a weight's tensors. */
export function checkShape(
  { names, info }: StoredTensors,
  { path, name, shape }: { readonly path: string; readonly name: string; readonly shape: readonly number[] },
): void {
  if (!names.has(name)) failWeight(path, `its tensor "${name}" is missing`);
  const found = info(name).shape;
  if (found.length === shape.length && found.every((size, i) => size === shape[i])) return;
  failWeight(path, `its tensor "${name}" has shape [${found}], the rule is [${shape}]`);
}

/** The 32-bit words of a tensor, which must be I32 or U32. */
export async function wordsOf({ view }: StoredTensors, path: string, name: string): Promise<Uint32Array> {
  const { dtype, bytes } = await view(name);
  if (dtype !== "I32" && dtype !== "U32") {
    failWeight(path, `its tensor "${name}" is ${dtype}, the rule is I32`);
  }
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

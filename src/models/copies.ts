/**
 * Copies of a model's weights that stand in an adapter's file: each is compared with the model folder's own.
 *
 * @module
 */
import { narrow, widen } from "../../kernels/half.ts";
import type { CopyFault } from "../adapters/copies.ts";
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import type { DType, HostTensor } from "../tensor.ts";
import { type Checkpoint, type FileNames, openCheckpoint } from "./checkpoint.ts";
import { namesOf } from "./families.ts";
import { folderFormats, quantizedNames } from "./quantization.ts";
import { transposed } from "./transpose.ts";
import { quantizeTensor, tensorShapes } from "./weights.ts";

/** A weight as a program had it that loaded it as `dtype`: rounded once, to nearest. */
const asDtype = ({ data, dtype: from }: HostTensor, dtype: DType): ArrayLike<number> =>
  from === dtype ? data : narrow(widen(data, from), dtype);

function isEqual(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** A model's weights, and how its family names them. */
interface Weights {
  readonly checkpoint: Checkpoint;
  readonly fileNames?: FileNames;
}

const differs = "its numbers are not those of the model's weight: the base was changed with the adapter";

/** The stored bits of a quantised weight are those of the copy, where it is a copy of the weight before. */
async function quantizedFault(
  { checkpoint, fileNames }: Weights,
  path: string,
  stored: HostTensor,
): Promise<string | undefined> {
  const copy = fileNames?.isTransposed?.(path) ? transposed(stored) : stored;
  const names = quantizedNames(path), [out, inSize] = copy.shape;
  for (const format of folderFormats) {
    const shapes = Object.entries(tensorShapes(format, { out, in: inSize }));
    const fits = shapes.every(([name, shape]) => isEqual(checkpoint.info(names[name]).shape, shape));
    if (!fits) continue;
    const made = quantizeTensor(copy, { name: path, format });
    for (const [name, { data }] of Object.entries(made.tensors)) {
      if (!isEqual(data, (await checkpoint.read(names[name])).data)) return differs;
    }
    return undefined;
  }
  return differs;
}

/**
 * Why `copy` is no copy of the checkpoint's weight of that name; undefined where it is one. A copy may be stored as another
 * float type: then it is what the weight is when rounded to it. A tied head's weight is the embedding.
 */
export async function copyFaultOf(
  weights: Weights,
  name: string,
  copy: HostTensor,
): Promise<string | undefined> {
  const { checkpoint, fileNames } = weights, { names } = checkpoint;
  const path = name.replace(/\.weight$/, "");
  if (!names.includes(name) && names.includes(quantizedNames(path).words)) {
    return await quantizedFault(weights, path, copy);
  }
  const embedding = name === fileNames?.head ? fileNames.embedding : undefined;
  const source = names.includes(name) ? name : embedding ?? name;
  if (!names.includes(source)) return "the model has no such weight";
  const { shape } = checkpoint.info(source);
  if (!isEqual(shape, copy.shape)) {
    return `its shape is [${copy.shape}], that of the model's weight [${shape}]`;
  }
  const weight = await checkpoint.read(source);
  return isEqual(asDtype(weight, copy.dtype), copy.data) ? undefined : differs;
}

/** As {@linkcode copyFaultOf}, of a model's folder, whose weights are opened for each question. */
export function copyFaults(folder: ReadableFolder): CopyFault {
  return async (name, copy) => {
    const fileNames = await namesOf(folder);
    const checkpoint = await openCheckpoint(folder, fileNames);
    try {
      return await copyFaultOf({ checkpoint, fileNames }, name, copy);
    } catch (error) {
      if (error instanceof ConfigError) return error.message;
      throw error;
    } finally {
      await checkpoint.close();
    }
  };
}

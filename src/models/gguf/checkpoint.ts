/**
 * The weights of a GGUF file, by the names, shapes and order of rows that the model has.
 *
 * @module
 */
import { dense } from "../../../kernels/formats/mod.ts";
import { widen } from "../../../kernels/half.ts";
import { ConfigError } from "../../errors.ts";
import type { GgufTensor } from "../../gguf/header.ts";
import { type GgufFile, readGguf } from "../../gguf/reader.ts";
import type { ByteSource } from "../../safetensors/mod.ts";
import { codes } from "../../safetensors/tensors.ts";
import { type HostTensor, tensor } from "../../tensor.ts";
import type { Checkpoint, FileNames } from "../checkpoint.ts";
import { transposed } from "../transpose.ts";
import { type Weight, widened, withTensors } from "../weights.ts";
import type { Architecture } from "./architecture.ts";
import { floatsDtype, weightOfBytes } from "./blocks.ts";
import { architectureOf } from "./config.ts";
import { numberAt } from "./metadata.ts";
import { interleavedBy, modelName, ropeFactorsNames } from "./names.ts";
import { withoutInterleaving } from "./rows.ts";

/** The tensors that are weights, by the model's names. */
function weightsOf({ tensors }: GgufFile, architecture: Architecture): ReadonlyMap<string, GgufTensor> {
  const weights = new Map<string, GgufTensor>(), others: readonly string[] = Object.values(ropeFactorsNames);
  for (const [stored, info] of tensors) {
    if (!others.includes(stored)) weights.set(modelName(stored, architecture), info);
  }
  return weights;
}

/**
 * The number of heads by whose rows a tensor is interleaved; undefined where it is not.
 *
 * @throws ConfigError where rows cannot be so many heads' halves.
 */
function interleavedHeads(
  { metadata, prefix, own }: Pick<GgufFile, "metadata"> & { prefix: string; own: Architecture },
  { name, shape, type }: { name: string } & Pick<GgufTensor, "shape" | "type">,
): number | undefined {
  const key = interleavedBy(name, own);
  if (key === undefined) return undefined;
  const heads = numberAt(metadata, `${prefix}.${key}`) ??
    numberAt(metadata, `${prefix}.attention.head_count`) ?? 0;
  if (
    Number.isInteger(heads) && heads > 0 && shape[0] % (2 * heads) === 0 &&
    (shape.length > 1 || type.blockSize === 1)
  ) {
    return heads;
  }
  throw new ConfigError(
    `Cannot use weight "${name}" of shape [${shape}]: its rows are no ${heads} heads of two halves`,
  );
}

/** The same numbers, each with `offset` taken off. */
function less(host: HostTensor, offset = 0): HostTensor {
  if (offset === 0) return host;
  return tensor(widen(host.data, host.dtype).map((value) => value - offset), host.shape);
}

/**
 * Opens the weights of a GGUF file.
 *
 * @param names How the model's family lays weights out, and its architectures.
 * @throws ConfigError for a file that breaks the format.
 */
export async function openGgufCheckpoint(
  source: ByteSource,
  names: Pick<FileNames, "isTransposed" | "gguf"> = {},
): Promise<Checkpoint> {
  const file = await readGguf(source);
  const { name: prefix, own } = architectureOf(file.metadata, names.gguf ?? {});
  const weights = weightsOf(file, own);
  const find = (name: string): GgufTensor => {
    const info = weights.get(name);
    if (info) return info;
    throw new ConfigError(`Cannot find weight "${name}" in the model's file`);
  };
  /** Whether the model's own files have a matrix (in, out); these files never have. */
  const turns = (name: string): boolean =>
    name.endsWith(".weight") && (names.isTransposed?.(name.slice(0, -".weight".length)) ?? false);
  async function readWeight(name: string): Promise<Weight<HostTensor>> {
    const info = find(name), heads = interleavedHeads({ ...file, prefix, own }, { ...info, name });
    const weight = weightOfBytes({ ...info, name }, await file.read(info));
    if (heads === undefined) return weight;
    return info.shape.length === 1
      ? withTensors(
        weight,
        (t) => ({ ...t, data: withoutInterleaving(tensor(t.data, info.shape, t), heads).data }),
      )
      : withTensors(weight, (t) => withoutInterleaving(t, heads));
  }
  return {
    names: [...weights.keys()],
    info(name) {
      const { shape, ...info } = find(name);
      return {
        name,
        dtype: codes[floatsDtype({ ...info, name }) ?? "float32"],
        shape: turns(name) ? shape.slice().reverse() : shape,
      };
    },
    bytes(name) {
      const { begin, end } = find(name);
      return end - begin;
    },
    async read(name) {
      const { shape } = find(name), { format, tensors, ...weight } = await readWeight(name);
      const host = format === dense ? tensors.weight : widened({ format, tensors, ...weight });
      const shaped = less(tensor(host.data, shape, host), name.endsWith("norm.weight") ? own.normOffset : 0);
      return turns(name) ? transposed(shaped) : shaped;
    },
    readWeight,
    close: async () => await source.close?.(),
  };
}

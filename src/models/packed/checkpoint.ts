/**
 * The weights of a folder that another program quantised: each packed weight as one of the model's.
 *
 * @module
 */
import { elements } from "../../tensor.ts";
import type { Checkpoint } from "../checkpoint.ts";
import { transposed } from "../transpose.ts";
import { denseWeight, widened } from "../weights.ts";
import { type PackedWeight, type Packing, storedBytes, type StoredTensors } from "./packing.ts";

/** Every packed weight, by its name in the model. */
async function packedWeights(tensors: StoredTensors, { mark, open }: Packing) {
  const weights = new Map<string, PackedWeight>();
  for (const name of tensors.names) {
    const path = mark.exec(name)?.[1];
    if (path !== undefined && !weights.has(`${path}.weight`)) {
      weights.set(`${path}.weight`, await open(tensors, path));
    }
  }
  return weights;
}

/** Megabytes, for a message. */
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

/**
 * The checkpoint of packed weights.
 *
 * @param plain The same files with their tensors as they are stored.
 * @param isTransposed Whether the model's own files have a linear's weight (in, out); packed weights are (out, in) always.
 */
export async function unpackedCheckpoint(
  plain: Checkpoint,
  { tensors, packing, isTransposed = () => false }: {
    readonly tensors: StoredTensors;
    readonly packing: Packing;
    readonly isTransposed?: (path: string) => boolean;
  },
): Promise<Checkpoint> {
  const weights = await packedWeights(tensors, packing);
  const hidden = new Set([...weights.values()].flatMap((weight) => weight.tensors));
  const turns = (name: string): boolean =>
    name.endsWith(".weight") && isTransposed(name.slice(0, -".weight".length));
  /** Weights of the model that no blocks have, with the bytes that they take as float32, and why. */
  const wide = new Map<string, { readonly bytes: number; readonly why: string }>();
  async function unpack(name: string, packed: PackedWeight) {
    const { weight, widened: why } = await packed.read();
    if (why !== undefined) wide.set(name, { bytes: 4 * weight.shape.out * weight.shape.in, why });
    return weight;
  }
  return {
    names: [...plain.names.filter((name) => !hidden.has(name)), ...weights.keys()],
    info(name) {
      const packed = weights.get(name);
      if (!packed) return plain.info(name);
      const { out, in: inSize } = packed.shape;
      return { name, dtype: "F32", shape: turns(name) ? [inSize, out] : [out, inSize] };
    },
    bytes(name) {
      const packed = weights.get(name);
      if (!packed) return plain.bytes(name);
      return packed.tensors.reduce((sum, one) => sum + storedBytes(tensors.info(one)), 0);
    },
    async read(name) {
      const packed = weights.get(name);
      if (!packed) return await plain.read(name);
      const host = widened(await unpack(name, packed));
      return turns(name) ? transposed(host) : host;
    },
    async readWeight(name) {
      const packed = weights.get(name);
      if (packed) return await unpack(name, packed);
      const host = await plain.read(name), [out, ...rest] = host.shape;
      return denseWeight(turns(name) ? transposed(host) : { ...host, shape: [out, elements(rest)] });
    },
    notice() {
      if (wide.size === 0) return undefined;
      const all = [...wide.values()], bytes = all.reduce((sum, one) => sum + one.bytes, 0);
      const reasons = [...new Set(all.map(({ why }) => why))].join("; ");
      return `${wide.size} weights of ${packing.method} are kept as float32 (${
        megabytes(bytes)
      }): ${reasons}`;
    },
    close: () => plain.close(),
  };
}

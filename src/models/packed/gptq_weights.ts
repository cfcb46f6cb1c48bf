/**
 * GPTQ's safetensors, as AutoGPTQ and GPTQModel write them.
 *
 * - `qweight` (in * bits / 32, out) I32: numbers of neighbouring inputs, from the lowest bits on;
 * - `qzeros` (groups, out * bits / 32) I32: zeros of neighbouring outputs, each less 1 in files of version 1;
 * - `scales` (groups, out), floats;
 * - `g_idx` (in) I32: the group of each input. A file without `desc_act` may lack it: its groups are neighbours.
 *
 * @module
 */
import { tensor } from "../../tensor.ts";
import { transposed } from "../transpose.ts";
import { groupsInOrder, groupSizeOf, scalesOf, unpackGroups } from "./groups.ts";
import { checkShape, failWeight, type PackedWeight, type StoredTensors, wordsOf } from "./packing.ts";

/** What `quantization_config` says. */
export interface GptqSettings {
  readonly bits: 4 | 8;
  readonly groupSize: number;
  /** Whether inputs go to groups by the size of their activations: then files list their groups. */
  readonly descAct: boolean;
  /** What zeros are more than they are stored as. */
  readonly zeroOffset: 0 | 1;
}

/** A word of eight neighbours as blocks of 4 bits place them, less 8 each: byte i has number i low, and i + 4 high. */
function spread(word: number): number {
  let low = word & 0xffff, high = word >>> 16;
  low = (low | low << 8) & 0x00ff00ff;
  low = (low | low << 4) & 0x0f0f0f0f;
  high = (high | high << 8) & 0x00ff00ff;
  high = (high | high << 4) & 0x0f0f0f0f;
  return (low | high << 4) ^ 0x88888888;
}

/** Zeros (groups, out), one a byte. A sum past the greatest number begins again at 0, as in AutoGPTQ. */
export function zerosOf(
  words: Uint32Array,
  { bits, zeroOffset }: Pick<GptqSettings, "bits" | "zeroOffset">,
): Uint8Array {
  const each = 32 / bits, most = 2 ** bits - 1, zeros = new Uint8Array(words.length * each);
  for (let i = 0; i < zeros.length; i++) {
    zeros[i] = (words[Math.floor(i / each)] >>> bits * (i % each)) + zeroOffset & most;
  }
  return zeros;
}

/** The group of each input, which the file says. */
async function groupOf(
  tensors: StoredTensors,
  path: string,
  { inSize, groups }: { readonly inSize: number; readonly groups: number },
): Promise<Int32Array> {
  const name = `${path}.g_idx`;
  checkShape(tensors, { path, name, shape: [inSize] });
  const found = new Int32Array(await wordsOf(tensors, path, name));
  const wrong = found.findIndex((group) => group < 0 || group >= groups);
  if (wrong >= 0) {
    failWeight(path, `its tensor "${name}" has input ${wrong} in group ${found[wrong]} of ${groups}`);
  }
  return found;
}

/** Opens a linear's weight. */
export function openGptq(
  tensors: StoredTensors,
  path: string,
  { bits, groupSize, descAct, zeroOffset }: GptqSettings,
): PackedWeight {
  const names = { numbers: `${path}.qweight`, zeros: `${path}.qzeros`, scales: `${path}.scales` };
  const [lines, out] = tensors.info(names.numbers).shape, each = 32 / bits, inSize = lines * each;
  checkShape(tensors, { path, name: names.numbers, shape: [lines, out] });
  const groups = Math.ceil(inSize / groupSizeOf(groupSize, inSize));
  checkShape(tensors, { path, name: names.scales, shape: [groups, out] });
  checkShape(tensors, { path, name: names.zeros, shape: [groups, Math.ceil(out / each)] });
  if (out % each !== 0) failWeight(path, `it has ${out} outputs, the rule is a multiple of ${each}`);
  const isListed = tensors.names.has(`${path}.g_idx`);
  if (descAct && groups > 1 && !isListed) {
    failWeight(path, `its tensor "${path}.g_idx" is missing, which desc_act needs`);
  }
  return {
    shape: { out, in: inSize },
    tensors: [...Object.values(names), ...isListed ? [`${path}.g_idx`] : []],
    async read() {
      const stored = tensor(await wordsOf(tensors, path, names.numbers), [lines, out]);
      const words = transposed(stored).data as Uint32Array;
      if (bits === 4) { for (let i = 0; i < words.length; i++) words[i] = spread(words[i]); }
      else for (let i = 0; i < words.length; i++) words[i] ^= 0x80808080;
      return unpackGroups({
        shape: { out, in: inSize },
        bits,
        words,
        scales: await scalesOf(tensors, path, names.scales),
        zeros: zerosOf(await wordsOf(tensors, path, names.zeros), { bits, zeroOffset }),
        groupOf: isListed
          ? await groupOf(tensors, path, { inSize, groups })
          : groupsInOrder(inSize, groupSizeOf(groupSize, inSize)),
      });
    },
  };
}

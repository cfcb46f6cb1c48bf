/**
 * AWQ's safetensors of version `gemm`, as AutoAWQ writes them.
 *
 * - `qweight` (in, out / 8) I32: numbers of eight neighbouring outputs; the lowest bits are those of output 0, then 2, 4,
 *   6, 1, 3, 5 and 7;
 * - `qzeros` (groups, out / 8) I32: zeros in the same way;
 * - `scales` (groups, out), floats.
 *
 * @module
 */
import { groupsInOrder, groupSizeOf, scalesOf, unpackGroups } from "./groups.ts";
import { checkShape, failWeight, type PackedWeight, type StoredTensors, wordsOf } from "./packing.ts";

/** Outputs of a word, from the lowest bits on. */
const order = [0, 2, 4, 6, 1, 3, 5, 7];

/** Numbers of a word. */
const each = order.length;

/** Where blocks of 4 bits place neighbours, from the lowest bits on: byte i has number i low, and i + 4 high. */
const places = [0, 2, 4, 6, 1, 3, 5, 7];

/** Zeros (groups, out), one a byte. */
function zerosOf(words: Uint32Array): Uint8Array {
  const zeros = new Uint8Array(words.length * each);
  for (let w = 0; w < words.length; w++) {
    for (let i = 0; i < each; i++) zeros[each * w + order[i]] = words[w] >>> 4 * i & 15;
  }
  return zeros;
}

/**
 * Exchanges halves of eight words of eight numbers: number i of word t becomes number t of word i. Each step exchanges
 * numbers `apart` places apart, whose bits `mask` has, between words that are as far apart.
 */
function turn(words: Uint32Array): void {
  for (const [apart, mask] of [[4, 0x0000ffff], [2, 0x00ff00ff], [1, 0x0f0f0f0f]]) {
    for (let t = 0; t < each; t++) {
      if (t & apart) continue;
      const a = words[t], b = words[t + apart], moved = (a >>> 4 * apart ^ b) & mask;
      words[t] = a ^ moved << 4 * apart;
      words[t + apart] = b ^ moved;
    }
  }
}

/** Numbers (in, out / 8) as blocks of 4 bits place them, less 8 each: (out, in / 8). */
function byOutputs(stored: Uint32Array, { out, inSize }: { readonly out: number; readonly inSize: number }) {
  const words = new Uint32Array(out * inSize / 8), width = out / each, line = inSize / 8;
  const eight = new Uint32Array(each);
  for (let w = 0; w < line; w++) {
    for (let column = 0; column < width; column++) {
      for (let t = 0; t < each; t++) eight[places[t]] = stored[(8 * w + t) * width + column];
      turn(eight);
      for (let i = 0; i < each; i++) words[(each * column + order[i]) * line + w] = eight[i] ^ 0x88888888;
    }
  }
  return words;
}

/** Opens a linear's weight. */
export function openAwq(tensors: StoredTensors, path: string, groupSize: number): PackedWeight {
  const names = { numbers: `${path}.qweight`, zeros: `${path}.qzeros`, scales: `${path}.scales` };
  const [inSize, width] = tensors.info(names.numbers).shape, out = width * each;
  checkShape(tensors, { path, name: names.numbers, shape: [inSize, width] });
  if (inSize % 8 !== 0) failWeight(path, `it has ${inSize} inputs, the rule is a multiple of 8`);
  const groups = Math.ceil(inSize / groupSizeOf(groupSize, inSize));
  checkShape(tensors, { path, name: names.zeros, shape: [groups, width] });
  checkShape(tensors, { path, name: names.scales, shape: [groups, out] });
  return {
    shape: { out, in: inSize },
    tensors: Object.values(names),
    read: async () =>
      unpackGroups({
        shape: { out, in: inSize },
        bits: 4,
        words: byOutputs(await wordsOf(tensors, path, names.numbers), { out, inSize }),
        scales: await scalesOf(tensors, path, names.scales),
        zeros: zerosOf(await wordsOf(tensors, path, names.zeros)),
        groupOf: groupsInOrder(inSize, groupSizeOf(groupSize, inSize)),
      }),
  };
}

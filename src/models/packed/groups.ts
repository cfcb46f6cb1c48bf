/**
 * Weights whose inputs are in groups, each output with a scale and a zero of its own in each: GPTQ and AWQ.
 *
 * An element is s (q - z). The product of at most 11 bits by at most 9 is exact as float32. Programs that multiply in
 * float16 round it.
 *
 * @module
 */
import { q4_32, q4z_32, q8_32 } from "../../../kernels/formats/mod.ts";
import { blockSize } from "../../../kernels/formats/q32/blocks.ts";
import { scaleWord } from "../../../kernels/formats/q4z_32.ts";
import type { LinearShape } from "../../adapters/method.ts";
import { toFloat32 } from "../../safetensors/mod.ts";
import { type HostTensor, tensor } from "../../tensor.ts";
import { denseWeight } from "../weights.ts";
import { failWeight, type StoredTensors, type Unpacked } from "./packing.ts";

/** A weight as its tensors say it, laid out by outputs. */
export interface GroupedWeight {
  readonly shape: LinearShape;
  readonly bits: 4 | 8;
  /** (out, in * bits / 32): q less half of its range, as `q32/blocks.ts` places numbers. */
  readonly words: Uint32Array;
  /** (groups, out), and q where an element is 0. */
  readonly scales: Float32Array;
  readonly zeros: Uint8Array;
  /** The group of each input. */
  readonly groupOf: Int32Array;
}

/** The scales of a weight's groups. */
export async function scalesOf(
  { view }: StoredTensors,
  path: string,
  name: string,
): Promise<Float32Array> {
  const found = await view(name);
  if (found.dtype !== "F16" && found.dtype !== "BF16" && found.dtype !== "F32") {
    failWeight(path, `its tensor "${name}" is ${found.dtype}, the rule is F16, BF16 or F32`);
  }
  const scales = toFloat32(found), broken = scales.findIndex((scale) => !Number.isFinite(scale));
  if (broken >= 0) {
    failWeight(path, `its tensor "${name}" has element ${broken} = ${scales[broken]}, it must be finite`);
  }
  return scales;
}

/** Groups of neighbours: of each so many inputs. */
export function groupsInOrder(inSize: number, groupSize: number): Int32Array {
  return Int32Array.from({ length: inSize }, (_, k) => Math.floor(k / groupSize));
}

/** How many inputs a group has; `group_size` -1 means all. */
export function groupSizeOf(groupSize: number, inSize: number): number {
  return groupSize === -1 ? inSize : groupSize;
}

/** The group of each block of 32 inputs; undefined where a block has inputs of several. */
function groupsOfBlocks({ groupOf, shape: { in: inSize } }: GroupedWeight): Int32Array | undefined {
  if (inSize % blockSize !== 0) return undefined;
  const groups = new Int32Array(inSize / blockSize);
  for (let k = 0; k < inSize; k++) {
    if (k % blockSize === 0) groups[k / blockSize] = groupOf[k];
    else if (groups[Math.floor(k / blockSize)] !== groupOf[k]) return undefined;
  }
  return groups;
}

/** Scales by blocks, (out, blocks), in words or as float32; undefined where `make` has none. */
function byBlocks<A extends Uint32Array | Float32Array>(
  { shape: { out }, scales, zeros }: GroupedWeight,
  { groups, made }: { readonly groups: Int32Array; readonly made: A },
  make: (scale: number, zero: number) => number | undefined,
): A | undefined {
  for (let o = 0; o < out; o++) {
    for (let b = 0; b < groups.length; b++) {
      const from = groups[b] * out + o, value = make(scales[from], zeros[from]);
      if (value === undefined) return undefined;
      made[o * groups.length + b] = value;
    }
  }
  return made;
}

/** The numbers themselves, each exactly. */
function floats(
  { shape: { out, in: inSize }, bits, words, scales, zeros, groupOf }: GroupedWeight,
): HostTensor {
  const values = new Float32Array(out * inSize), line = inSize * bits / 32;
  for (let o = 0; o < out; o++) {
    for (let k = 0; k < inSize; k++) {
      const q = bits === 4
        ? words[o * line + (k >> 3)] >>> 8 * (k % 4) + (k & 4) & 15 ^ 8
        : words[o * line + (k >> 2)] >>> 8 * (k % 4) & 255 ^ 128;
      const group = groupOf[k] * out + o;
      values[o * inSize + k] = scales[group] * (q - zeros[group]);
    }
  }
  return tensor(values, [out, inSize]);
}

/** A weight in the format of fewest bytes that has its numbers. */
export function unpackGroups(grouped: GroupedWeight): Unpacked {
  const { shape, bits, words, zeros } = grouped, groups = groupsOfBlocks(grouped);
  const widened = (why: string): Unpacked => ({ weight: denseWeight(floats(grouped)), widened: why });
  if (!groups) {
    return widened(
      shape.in % blockSize === 0
        ? "inputs of a group are no neighbours (desc_act)"
        : `their inputs are no multiple of ${blockSize}`,
    );
  }
  const size = shape.out * groups.length, half = 2 ** (bits - 1);
  const blocks = (
    format: typeof q4_32,
    scales: Float32Array | Uint32Array,
  ): Unpacked => ({
    weight: {
      format,
      shape,
      tensors: {
        words: tensor(words, [shape.out, words.length / shape.out]),
        scales: tensor(scales, [shape.out, groups.length]),
      },
    },
  });
  if (zeros.every((zero) => zero === half)) {
    const made = byBlocks(grouped, { groups, made: new Float32Array(size) }, (scale) => scale)!;
    return blocks(bits === 4 ? q4_32 : q8_32, made);
  }
  if (bits === 8) return widened("numbers of 8 bits have zeros other than 128");
  const made = byBlocks(grouped, { groups, made: new Uint32Array(size) }, scaleWord);
  return made ? blocks(q4z_32, made) : widened("their scales have more than 11 bits");
}

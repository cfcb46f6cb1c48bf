/**
 * Weights in blocks: 32 neighbours of a row share a scale, and each is a whole number of 8 or 4 bits.
 *
 * A weight (out, in) has `blocks` = ceil(in / 32) blocks a row; the last is filled up with zeros. It is stored as
 *
 * - `words` (out, blocks * bits) uint32: the numbers q, two's complement, from the lowest bits on. With 8 bits, byte i
 *   of word w is element 4 w + i of its row. With 4 bits, byte i of word w has element 8 w + i in its low half,
 *   and four elements on in its high half. So a word has two quads, each at a multiple of 8 bits after one mask.
 * - `scales` (out, blocks) bfloat16: an element is q times its block's scale. bfloat16 takes the bytes of
 *   float16 and has float32's range. A float16 scale of weights below 0.008 would be subnormal, which a GPU may read as
 *   zero. Its few digits cost nothing, since the numbers are rounded for the scale as it is stored.
 *
 * The element of the largest magnitude becomes about -128 or -8; the scale has the opposite sign. So all 256 or 16 values
 * are used, and a step is an eighth smaller than from -7 to 7. Every element is rounded to the nearest value, and off by
 * half a scale at most. An element that lies opposite to the largest, beyond 127.5 or 7.5, is off by one scale at most.
 *
 * @module
 */
import { bfloat16ToFloat32 } from "../../half.ts";
import { checkCount, type WeightArrays, type WeightRows, type WeightShape } from "../format.ts";

/** The buffers of a weight in blocks. */
export type BlockBuffers = "words" | "scales";

/** Elements that share a scale. */
export const blockSize = 32;

/** Bits of an element. */
export type Bits = 8 | 4;

/** A weight's shape, and how it is quantised. */
interface QuantizedShape extends WeightShape {
  readonly bits: Bits;
}

/** A quantised weight on the host: see the module's documentation. */
interface Quantized {
  readonly words: Uint32Array;
  /** bfloat16 bits. */
  readonly scales: Uint16Array;
}

/** Blocks of a row. */
export function blocksOf(inSize: number): number {
  return Math.ceil(inSize / blockSize);
}

/** Words of a row: a block of 32 elements of `bits` bits takes `bits` words. */
export function wordsOf({ in: inSize, bits }: Pick<QuantizedShape, "in" | "bits">): number {
  return blocksOf(inSize) * bits;
}

/** Where the largest magnitude among `weight[begin]` to `weight[end - 1]` is; the first of several. */
function extremeAt(weight: Float32Array, begin: number, end: number): number {
  let at = begin, most = 0;
  for (let i = begin; i < end; i++) {
    const magnitude = Math.abs(weight[i]);
    if (magnitude <= most) continue;
    at = i;
    most = magnitude;
    if (!(magnitude < Infinity)) {
      throw new RangeError(`Cannot quantize a weight with element ${i} = ${weight[i]}: it must be finite`);
    }
  }
  return at;
}

const float32 = new Float32Array(1);
const bits32 = new Uint32Array(float32.buffer);

/** The next bfloat16 away from zero: were a scale rounded down, its largest element would be cut off. */
function bfloat16Away(value: number): number {
  float32[0] = value;
  return (bits32[0] + 0xffff) >>> 16;
}

/** A number of scales. The quotient of two float32 numbers is no closer below a half than float64 can tell. */
function rounded(value: number, scale: number, most: number): number {
  const q = Math.floor(value / scale + 0.5);
  return q > most ? most : q;
}

/** Where elements of a weight's block are, and where their bytes begin. */
interface Placed {
  readonly begin: number;
  readonly end: number;
  readonly scale: number;
  readonly at: number;
}

/** Elements of a block, rounded to the nearest number of scales. */
const pack: Readonly<Record<Bits, (weight: Float32Array, bytes: Int8Array, placed: Placed) => void>> = {
  8(weight, bytes, { begin, end, scale, at }) {
    for (let i = begin, to = at; i < end; i++) bytes[to++] = rounded(weight[i], scale, 127);
  },
  4(weight, bytes, { begin, end, scale, at }) {
    for (let i = begin; i < end; i++) {
      const k = i - begin, q = rounded(weight[i], scale, 7) & 15;
      bytes[at + 4 * (k >> 3) + (k & 3)] |= q << (k & 4);
    }
  },
};

/**
 * Quantises a weight, each block by itself.
 *
 * @param weight (out, in), row-major.
 * @throws RangeError for an element that is NaN or infinite, and for a weight of another size.
 */
export function quantize(weight: Float32Array, shape: QuantizedShape): Quantized {
  checkCount(weight, shape);
  const { out, in: inSize, bits } = shape;
  const blocks = blocksOf(inSize), levels = 2 ** (bits - 1);
  const words = new Uint32Array(out * blocks * bits), bytes = new Int8Array(words.buffer);
  const scales = new Uint16Array(out * blocks);
  for (let b = 0; b < scales.length; b++) {
    const first = (b % blocks) * blockSize, begin = Math.floor(b / blocks) * inSize + first;
    const end = begin + Math.min(blockSize, inSize - first);
    scales[b] = bfloat16Away(-weight[extremeAt(weight, begin, end)] / levels);
    bits32[0] = scales[b] << 16;
    if (float32[0] !== 0) pack[bits](weight, bytes, { begin, end, scale: float32[0], at: 4 * bits * b });
  }
  return { words, scales };
}

/** The numbers of a whole block whose bytes begin at `at`, times its scale, to `into` from `to` on. */
type Block = (
  bytes: Int8Array,
  at: number,
  target: { into: Float32Array; to: number; scale: number },
) => void;

const block: Readonly<Record<Bits, Block>> = {
  8(bytes, at, { into, to, scale }) {
    for (let i = 0; i < blockSize; i++) into[to + i] = bytes[at + i] * scale;
  },
  4(bytes, at, { into, to, scale }) {
    for (let i = 0; i < blockSize / 2; i++) {
      const byte = bytes[at + i], k = to + i + (i & ~3);
      into[k] = (byte << 28 >> 28) * scale;
      into[k + 4] = (byte >> 4) * scale;
    }
  },
};

/** Rows of a quantised weight as float32, exactly: 8 bits times 8 bits fit its 24. */
export function dequantize(
  { words, scales }: WeightArrays<"words" | "scales">,
  { out, in: inSize, bits }: QuantizedShape,
  rows: WeightRows = {},
): Float32Array {
  const { begin = 0, end = out, into = new Float32Array((end - begin) * inSize) } = rows;
  const wide = scales instanceof Uint16Array ? bfloat16ToFloat32(scales) : scales;
  const bytes = new Int8Array(words.buffer, words.byteOffset, words.byteLength);
  const blocks = blocksOf(inSize), whole = Math.floor(inSize / blockSize);
  const widen = block[bits];
  const last = new Float32Array(blockSize);
  for (let row = begin; row < end; row++) {
    const to = (row - begin) * inSize;
    for (let b = 0; b < blocks; b++) {
      const i = row * blocks + b, at = 4 * bits * i, scale = wide[i];
      if (b < whole) widen(bytes, at, { into, to: to + b * blockSize, scale });
      else widen(bytes, at, { into: last, to: 0, scale });
    }
    if (whole < blocks) into.set(last.subarray(0, inSize % blockSize), to + whole * blockSize);
  }
  return into;
}

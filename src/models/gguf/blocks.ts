/**
 * Tensors of GGUF files as weights: blocks become those of a format with the same numbers, bit for bit.
 *
 * @module
 */
import { dense, q4_32, q4_k, q6_k, q8_32 } from "../../../kernels/formats/mod.ts";
import { blockSize } from "../../../kernels/formats/q32/blocks.ts";
import type { WeightFormat } from "../../../kernels/formats/format.ts";
import { float16ToFloat32 } from "../../../kernels/half.ts";
import type { GgufTensor } from "../../gguf/header.ts";
import { ConfigError } from "../../errors.ts";
import { type DType, type HostTensor, tensor, type TypedArray } from "../../tensor.ts";
import { tensorShapes, type Weight } from "../weights.ts";

/** How a type of files is stored here. */
interface Storing {
  readonly format: WeightFormat;
  /** The arrays of the format's buffers, of a whole number of the type's blocks. */
  arrays(bytes: Uint8Array): Readonly<Record<string, readonly [DType, TypedArray]>>;
}

/** A copy where a typed array cannot lie over the bytes. */
const over = (bytes: Uint8Array, elementBytes: number): Uint8Array =>
  bytes.byteOffset % elementBytes === 0 ? bytes : bytes.slice();

function words16(bytes: Uint8Array): Uint16Array {
  const { buffer, byteOffset, length } = over(bytes, 2);
  return new Uint16Array(buffer, byteOffset, length / 2);
}

function floats32(bytes: Uint8Array): Float32Array {
  const { buffer, byteOffset, length } = over(bytes, 4);
  return new Float32Array(buffer, byteOffset, length / 4);
}

/** The float16 that each block begins with, as float32: as float16 many are subnormal, which a GPU may read as zero. */
function scalesOf(bytes: Uint8Array, blockBytes: number): Float32Array {
  const bits = Uint16Array.from(
    { length: bytes.length / blockBytes },
    (_, b) => bytes[b * blockBytes] | bytes[b * blockBytes + 1] << 8,
  );
  return float16ToFloat32(bits);
}

/** A scale, then 32 signed bytes. */
function q8Arrays(bytes: Uint8Array): ReturnType<Storing["arrays"]> {
  const stored = 2 + blockSize, scales = scalesOf(bytes, stored);
  const words = new Uint32Array(scales.length * 8), numbers = new Uint8Array(words.buffer);
  for (let b = 0; b < scales.length; b++) {
    numbers.set(bytes.subarray(b * stored + 2, (b + 1) * stored), b * blockSize);
  }
  return { words: ["uint32", words], scales: ["float32", scales] };
}

/**
 * A scale, then 16 bytes: the low half of byte i is element i, its high half element i + 16, each with 8 added. Here byte
 * i of word w has elements 8 w + i and 8 w + i + 4, in two's complement: the highest bit is turned.
 */
function q4Arrays(bytes: Uint8Array): ReturnType<Storing["arrays"]> {
  const half = blockSize / 2, stored = 2 + half, scales = scalesOf(bytes, stored);
  const words = new Uint32Array(scales.length * 4), packed = new Uint8Array(words.buffer);
  for (let b = 0; b < scales.length; b++) {
    const from = b * stored + 2, to = b * half;
    for (let i = 0; i < half; i++) {
      // Elements k and k + 4 of the block.
      const k = 8 * (i >> 2) + i % 4, at = from + k % half;
      const low = k < half ? bytes[at] & 15 : bytes[at] >> 4;
      const high = k < half ? bytes[at + 4] & 15 : bytes[at + 4] >> 4;
      packed[to + i] = (low | high << 4) ^ 0x88;
    }
  }
  return { words: ["uint32", words], scales: ["float32", scales] };
}

/** Blocks of 256 with their words and scales, made one by one from so many bytes. */
function bigBlocks(
  { format, bytes, stored }: {
    readonly format: WeightFormat;
    readonly bytes: Uint8Array;
    readonly stored: number;
  },
  make: (block: Uint8Array, to: { readonly words: Uint8Array; readonly scales: DataView }) => void,
): ReturnType<Storing["arrays"]> {
  const sizes = format.rowElements(format.block), count = bytes.length / stored;
  const words = new Uint32Array(count * sizes.words), scales = new Uint32Array(count * sizes.scales);
  for (let b = 0; b < count; b++) {
    make(bytes.subarray(b * stored, (b + 1) * stored), {
      words: new Uint8Array(words.buffer, 4 * b * sizes.words, 4 * sizes.words),
      scales: new DataView(scales.buffer, 4 * b * sizes.scales, 4 * sizes.scales),
    });
  }
  return { words: ["uint32", words], scales: ["uint32", scales] };
}

/** The float16 at a byte, widened. */
function floatAt(bytes: Uint8Array, at: number): number {
  return float16ToFloat32(Uint16Array.of(bytes[at] | bytes[at + 1] << 8))[0];
}

/** Puts 4 bits where blocks of 4 bits have those of an element: see `q32/blocks.ts`. */
function putLow(words: Uint8Array, element: number, bits: number): void {
  words[4 * (element >> 3) + element % 4] |= bits << (element & 4);
}

/**
 * Two float16, then 8 scales and 8 minima of 6 bits in 12 bytes: byte i has scale i, and byte i + 4 minimum i, of the first
 * four; their two high bits are those of the last four, whose low bits are the halves of bytes 8 to 11. Of each 64 elements
 * 32 bytes have the first half low and the second half high.
 */
function q4kArrays(bytes: Uint8Array): ReturnType<Storing["arrays"]> {
  return bigBlocks({ format: q4_k, bytes, stored: 144 }, (block, { words, scales }) => {
    scales.setFloat32(0, floatAt(block, 0), true);
    scales.setFloat32(4, floatAt(block, 2), true);
    const small = block.subarray(4, 16);
    for (let i = 0; i < 4; i++) {
      scales.setUint8(8 + i, small[i] & 63);
      scales.setUint8(16 + i, small[i + 4] & 63);
      scales.setUint8(12 + i, small[i + 8] & 15 | small[i] >> 6 << 4);
      scales.setUint8(20 + i, small[i + 8] >> 4 | small[i + 4] >> 6 << 4);
    }
    for (let i = 0; i < 128; i++) {
      const element = 64 * (i >> 5) + i % 32, byte = block[16 + i];
      putLow(words, element, (byte & 15) ^ 8);
      putLow(words, element + 32, byte >> 4 ^ 8);
    }
  });
}

/**
 * 128 bytes of low bits, 64 of high bits, 16 scales, a float16. Of each 128 elements, byte i of 64 has elements i and i +
 * 64, and byte i of 32 has the high bits of elements i, i + 32, i + 64 and i + 96.
 */
function q6kArrays(bytes: Uint8Array): ReturnType<Storing["arrays"]> {
  return bigBlocks({ format: q6_k, bytes, stored: 210 }, (block, { words, scales }) => {
    scales.setFloat32(0, floatAt(block, 208), true);
    for (let i = 0; i < 16; i++) scales.setUint8(4 + i, block[192 + i]);
    for (let i = 0; i < 256; i++) {
      const half = i >> 7, k = i % 128;
      const low = block[64 * half + k % 64] >> (k < 64 ? 0 : 4) & 15;
      const high = block[128 + 32 * half + k % 32] >> 2 * (k >> 5) & 3;
      putLow(words, i, low);
      words[128 + 4 * (i >> 4) + i % 4] |= high << 2 * (i >> 2 & 3);
    }
  });
}

/** The types that weights may have, by the names of ggml. */
const storings: Readonly<Record<string, Storing>> = {
  F32: { format: dense, arrays: (bytes) => ({ weight: ["float32", floats32(bytes)] }) },
  F16: { format: dense, arrays: (bytes) => ({ weight: ["float16", words16(bytes)] }) },
  BF16: { format: dense, arrays: (bytes) => ({ weight: ["bfloat16", words16(bytes)] }) },
  Q8_0: { format: q8_32, arrays: q8Arrays },
  Q4_0: { format: q4_32, arrays: q4Arrays },
  Q4_K: { format: q4_k, arrays: q4kArrays },
  Q6_K: { format: q6_k, arrays: q6kArrays },
};

function storingOf({ name, type }: Pick<GgufTensor, "name" | "type">): Storing {
  const storing = Object.hasOwn(storings, type.name) ? storings[type.name] : undefined;
  if (storing) return storing;
  throw new ConfigError(
    `Cannot use weight "${name}" of type ${type.name}: supported are ${Object.keys(storings).join(", ")}`,
  );
}

/**
 * The dtype of a tensor that is stored as floats; undefined for blocks.
 *
 * @throws ConfigError for a type that is not supported.
 */
export function floatsDtype(info: Pick<GgufTensor, "name" | "type">): DType | undefined {
  const { format } = storingOf(info);
  return format === dense
    ? { F32: "float32", F16: "float16", BF16: "bfloat16" }[info.type.name] as DType
    : undefined;
}

/**
 * A tensor's bytes as a weight (out, in); a tensor of other than two dimensions is one row.
 *
 * @throws ConfigError for a type that is not supported.
 */
export function weightOfBytes(
  info: Pick<GgufTensor, "name" | "type" | "shape">,
  bytes: Uint8Array,
): Weight<HostTensor> {
  const { format, arrays } = storingOf(info);
  const inSize = info.shape[info.shape.length - 1];
  const out = info.shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const shape = { out, in: inSize }, shapes = tensorShapes(format, shape);
  const tensors = Object.entries(arrays(bytes)).map(([name, [dtype, data]]) =>
    [name, tensor(data, shapes[name], { dtype })] as const
  );
  return { format, shape, tensors: Object.fromEntries(tensors) };
}

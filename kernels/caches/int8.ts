/**
 * Keys and values rounded to whole numbers of 8 bits. Each head of a cache row has a factor of its own: the largest of its
 * numbers, in absolute value, is 127 times the factor. Four numbers stand in a word, each with 128 added. A head with a number
 * that is not finite has a factor that is not finite: none of its numbers is read as another one.
 *
 * @module
 */
import type { TypedArray } from "../kernel.ts";
import { type CacheFormat, type CachePlace, type CacheSizes, quadsOf } from "./format.ts";

const offset = 128, most = 127;

/** Heads whose largest number is no greater are stored as zeros: 127 divided by the largest must be a float32. */
const smallest = 1e-30;

const headOf = ({ row, head }: CachePlace, { kvHeads }: CacheSizes): number => row * kvHeads + head;

/** Elements of the buffer before the factors. */
const numbersOf = ({ cacheRows, kvHeads, headDim }: CacheSizes): number =>
  cacheRows * kvHeads * quadsOf(headDim);

/** Bytes of the words, in the order of the numbers: hosts are little-endian. */
const bytesOf = ({ buffer, byteOffset, byteLength }: TypedArray): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const floatsOf = ({ buffer, byteOffset, length }: TypedArray): Float32Array =>
  new Float32Array(buffer, byteOffset, length);

/** The nearest whole number; of two, the even one. */
function nearest(x: number): number {
  const below = Math.floor(x), rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}

/** Bits of 2^23 as float32: a whole number below 2^23 in the lower bits adds itself, exactly. */
const wholeBits = "0x4b000000", wholeBegin = 2 ** 23;

/** A number for each byte, by operations that a GPU has for every thread at once; conversions are slower. */
const bytes = (word: string): string =>
  `(bitcast<vec4f>(((vec4u(${word}) >> vec4u(0, 8, 16, 24)) & vec4u(0xff)) | vec4u(${wholeBits}))` +
  ` - ${wholeBegin + offset}.0)`;

/** See the module's documentation. */
export const int8: CacheFormat = {
  name: "int8",
  doc: "whole numbers of 8 bits, those of a head with a factor",
  buffer: {
    dtypes: ["uint32"],
    doc:
      "(cacheRows, kvHeads, ceil(headDim / 4)), row-major: words of four bytes, the first in the lowest bits, " +
      "each 128 + x / factor, 128 past headDim; then (cacheRows, kvHeads): factors, float32 bits, not finite of a " +
      "head with a number that is not",
  },
  rowElements: ({ kvHeads, headDim }) => kvHeads * (quadsOf(headDim) + 1),
  write(cache, place, numbers, sizes) {
    const head = headOf(place, sizes), width = 4 * quadsOf(sizes.headDim);
    const bytes = bytesOf(cache).subarray(head * width, (head + 1) * width).fill(offset);
    let largest = 0;
    for (let i = 0; i < sizes.headDim; i++) largest = Math.max(largest, Math.abs(numbers[i]));
    floatsOf(cache)[numbersOf(sizes) + head] = largest / most;
    if (largest <= smallest) return;
    for (let i = 0; i < sizes.headDim; i++) bytes[i] = offset + nearest(numbers[i] * (most / largest));
  },
  read(cache, place, { into, at }, sizes) {
    const head = headOf(place, sizes), from = head * 4 * quadsOf(sizes.headDim), bytes = bytesOf(cache);
    const factor = floatsOf(cache)[numbersOf(sizes) + head];
    for (let i = 0; i < sizes.headDim; i++) into[at + i] = (bytes[from + i] - offset) * factor;
  },
  error: { relative: 0.5001 / most, to: "head", smallest },
  packed: {
    quadType: "u32",
    quad: bytes,
    wideQuads: ["x", "y", "z", "w"].map((word) => (words: string) => bytes(`${words}.${word}`)),
    scaled: true,
    // The factors must be whole vec4u, too.
    readsWide: (sizes) => quadsOf(sizes.headDim) % 4 === 0 && sizes.cacheRows * sizes.kvHeads % 4 === 0,
    reads(name, { headDim }, type) {
      const at = `uniforms.cacheRows * uniforms.kvHeads * ${quadsOf(headDim)} + at`;
      const word = type === "vec4u" ? `${name}[(${at}) / 4][(${at}) % 4]` : `${name}[${at}]`;
      return `fn ${name}_scale(at: u32) -> f32 { return bitcast<f32>(${word}); }`;
    },
    store: (name, { headDim, threads }) =>
      `fn ${name}_store(at: u32, local: u32) {
  const quads = ${quadsOf(headDim)}u;
  let bits = largest_bits();
  let is_finite = bits < 0x7f800000;
  let largest = select(0.0, bitcast<f32>(bits), is_finite);
  let inverse = select(0.0, ${most}.0 / largest, largest > ${smallest});
  for (var w = local; w < quads; w += ${threads}) {
    let numbers = inverse * vec4f(head[4 * w], head[4 * w + 1], head[4 * w + 2], head[4 * w + 3]);
    let bytes = vec4u(vec4i(round(clamp(numbers, vec4f(-${most}), vec4f(${most}))) + ${offset}));
    ${name}[at * quads + w] = bytes.x | (bytes.y << 8) | (bytes.z << 16) | (bytes.w << 24);
  }
  if (local == 0) {
    ${name}[uniforms.cacheRows * uniforms.kvHeads * quads + at] =
      select(0x7fffffff, bitcast<u32>(largest / ${most}.0), is_finite);
  }
}`,
  },
  bits: 8,
};

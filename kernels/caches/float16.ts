/**
 * Keys and values rounded to float16, two in a word. Finite numbers beyond 65504, the largest of float16, become 65504: an
 * infinity would make each later token of the sequence NaN. A head with a number that is not finite is stored as NaN alone.
 *
 * @module
 */
import { float16ToFloat32, float32ToFloat16 } from "../half.ts";
import { type CacheFormat, type CachePlace, type CacheSizes, quadsOf } from "./format.ts";

const largest = 65504;

/** The NaN of heads with a number that is not finite; kernels/assembly/caches.ts looks for it in a head's first number. */
const notFinite = 0xffff;

/** The halves of the words, in the order of the numbers: hosts are little-endian. */
const halvesOf = (
  { buffer, byteOffset, length }: ArrayBufferView & { readonly length: number },
): Uint16Array => new Uint16Array(buffer, byteOffset, 2 * length);

const begin = ({ row, head }: CachePlace, { kvHeads, headDim }: CacheSizes): number =>
  (row * kvHeads + head) * 4 * quadsOf(headDim);

const pair = (word: string): string => `unpack2x16float(${word})`;

/** See the module's documentation. */
export const float16: CacheFormat = {
  name: "float16",
  doc: "floats rounded to 16 bits",
  buffer: {
    dtypes: ["uint32"],
    doc:
      "(cacheRows, kvHeads, 2 ceil(headDim / 4)), row-major: words of two float16, the first in the lower " +
      "bits, zeros past headDim; all bits set of a head with a number that is not finite",
  },
  rowElements: ({ kvHeads, headDim }) => kvHeads * 2 * quadsOf(headDim),
  write(cache, place, numbers, sizes) {
    const from = begin(place, sizes),
      halves = halvesOf(cache).subarray(from, from + 4 * quadsOf(sizes.headDim));
    const floats = Float32Array.from(numbers);
    if (!floats.every(Number.isFinite)) {
      halves.fill(notFinite);
      return;
    }
    halves.fill(0);
    halves.set(float32ToFloat16(floats.map((x) => Math.min(Math.max(x, -largest), largest))));
  },
  read(cache, place, { into, at }, sizes) {
    const from = begin(place, sizes);
    into.set(float16ToFloat32(halvesOf(cache).subarray(from, from + sizes.headDim)), at);
  },
  // Where a device rounds to nearest the error is half of that; WGSL leaves the way of rounding to the device.
  error: { relative: 2 ** -10, to: "itself", smallest: 2 ** -24 },
  packed: {
    quadType: "vec2u",
    quad: (words) => `vec4f(${pair(`${words}.x`)}, ${pair(`${words}.y`)})`,
    wideQuads: [
      (words) => `vec4f(${pair(`${words}.x`)}, ${pair(`${words}.y`)})`,
      (words) => `vec4f(${pair(`${words}.z`)}, ${pair(`${words}.w`)})`,
    ],
    scaled: false,
    readsWide: ({ headDim }) => quadsOf(headDim) % 2 === 0,
    reads: () => "",
    store: (name, { headDim, threads }) =>
      `fn ${name}_store(at: u32, local: u32) {
  let is_finite = largest_bits() < 0x7f800000;
  for (var w = local; w < ${2 * quadsOf(headDim)}; w += ${threads}) {
    let numbers = clamp(vec2f(head[2 * w], head[2 * w + 1]), vec2f(-${largest}), vec2f(${largest}));
    ${name}[at * ${2 * quadsOf(headDim)} + w] = select(${
        notFinite * 0x10001
      }u, pack2x16float(numbers), is_finite);
  }
}`,
  },
  bits: 16,
};

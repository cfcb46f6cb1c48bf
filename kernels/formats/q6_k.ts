/**
 * Weights in blocks of 256 whole numbers of 6 bits, with a scale for each 16: ggml's Q6_K.
 *
 * An element is d s q: d is a block's own, s, from -128 to 127, that of its sixteenth, and q is -32 to 31. A weight (out,
 * in) has `blocks` = ceil(in / 256) blocks a row; the last is filled up with zeros. It is stored as
 *
 * - `words` (out, blocks * 48) uint32: q + 32. Of 16 elements two words have the low 4 bits: byte i of the first has
 *   element i in its low half and i + 4 in its high half, the second has the next eight. Those of a block are followed by
 *   16 words of high bits: byte i of each has those of elements i, i + 4, i + 8 and i + 12, from the lowest bits on.
 * - `scales` (out, blocks * 5) uint32: d as the bits of float32, then 16 signed bytes s.
 *
 * d has 11 significant bits, so that d s q is exact as float32.
 *
 * @module
 */
import { blocksWasm } from "./blocks_wasm.ts";
import {
  checkCount,
  checkSizes,
  type LineText,
  type QuadText,
  type WeightArrays,
  type WeightFormat,
  type WeightRows,
  type WeightShape,
  type WeightSteps,
} from "./format.ts";
import { bigBlock, bigBlocksOf, checkFinite, elevenBitsAway } from "./k_blocks.ts";
import type { BlockBuffers } from "./q32/blocks.ts";

/** Elements that share a scale, and those parts of a block. */
const part = 16, parts = bigBlock / part;

/** Words of a block: its low bits, all of its bits, its scales. */
const lowWords = bigBlock / 8, wordsOfBlock = lowWords + bigBlock / 16, scaleWords = 5;

/** WGSL: a part's scale, its words, and quads of q + 32 in them. */
const functions = `fn words_scale(begin: u32, part: u32) -> f32 {
  let at = ${scaleWords} * (begin / ${wordsOfBlock} + part / ${parts});
  let byte = i32(scales[at + 1 + part % ${parts} / 4] << (24 - 8 * (part % 4))) >> 24;
  return bitcast<f32>(scales[at]) * f32(byte);
}
fn words_part(begin: u32, part: u32) -> vec3u {
  let block = begin + ${wordsOfBlock} * (part / ${parts});
  let low = block + 2 * (part % ${parts});
  return vec3u(words[low], words[low + 1], words[block + ${lowWords} + part % ${parts}]);
}
fn words_quad(part: vec3u, quad: u32) -> vec4f {
  let low = (select(part.x, part.y, quad > 1) >> (4 * (quad & 1))) & 0x0f0f0f0f;
  let bytes = low | (((part.z >> (2 * quad)) & 0x03030303) << 4);
  return vec4f((vec4u(bytes) >> vec4u(0, 8, 16, 24)) & vec4u(255));
}`;

const rowBegin = (length: string, row: string): string =>
  `${row} * (${wordsOfBlock} * ((${length} + ${bigBlock - 1}) / ${bigBlock}))`;

function quads({ role, length }: LineText): QuadText {
  return {
    types: ["u32", "u32"],
    functions: `${functions}
fn ${role}_begin(line: u32) -> u32 { return ${rowBegin(length.text, "line")}; }
fn ${role}_quad(begin: u32, quad: u32) -> vec4f {
  let part = quad / ${part / 4};
  return words_scale(begin, part) * (words_quad(words_part(begin, part), quad % ${part / 4}) - vec4f(32));
}`,
  };
}

/** A step is 16 elements, which share a scale. */
function steps(inSize: number): WeightSteps {
  return {
    types: ["u32", "u32"],
    functions,
    count: bigBlocksOf(inSize) * parts,
    steps: `((uniforms.in + ${bigBlock - 1}) / ${bigBlock}) * ${parts}`,
    begin: (column) => rowBegin("uniforms.in", column),
    load: (begin, k) => `words_part(${begin}, ${k})`,
    quads: [0, 1, 2, 3].map((quad) => (w: string) => `words_quad(${w}, ${quad})`),
    scaled: { scale: (begin, k) => `words_scale(${begin}, ${k})`, order: "xyzw", offset: 32 },
  };
}

/** The float32 whose bits a word has. */
function floatOf(word: number): number {
  return new Float32Array(Uint32Array.of(word).buffer)[0];
}

function rows(
  { words, scales }: WeightArrays<BlockBuffers>,
  { out, in: inSize }: WeightShape,
  { begin = 0, end = out, into = new Float32Array((end - begin) * inSize) }: WeightRows = {},
): Float32Array {
  const blocks = bigBlocksOf(inSize);
  for (let row = begin; row < end; row++) {
    for (let b = 0; b < blocks; b++) {
      const block = row * blocks + b, from = block * wordsOfBlock, own = floatOf(scales[scaleWords * block]);
      const to = (row - begin) * inSize + b * bigBlock, most = Math.min(bigBlock, inSize - b * bigBlock);
      for (let i = 0; i < most; i++) {
        const p = i >> 4, byte = 8 * (i % 4);
        const low = words[from + (i >> 3)] >>> byte + (i & 4) & 15;
        const high = words[from + lowWords + p] >>> byte + 2 * (i >> 2 & 3) & 3;
        const scale = scales[scaleWords * block + 1 + (p >> 2)] << 24 - 8 * (p % 4) >> 24;
        into[to + i] = own * scale * ((low | high << 4) - 32);
      }
    }
  }
  return into;
}

/** The number of the largest magnitude. */
function extremeOf(values: Float32Array): number {
  return values.reduce((most, value) => Math.abs(value) > Math.abs(most) ? value : most, 0);
}

/** One block, from at most 256 numbers: of each part the number of the largest magnitude becomes about -32. */
function packBlock(
  values: Float32Array,
  { words, scales }: { words: Uint32Array; scales: Uint32Array },
): void {
  const wanted = Array.from(
    { length: parts },
    (_, p) => -extremeOf(values.subarray(p * part, (p + 1) * part)) / 32,
  );
  const own = elevenBitsAway(Math.max(...wanted.map(Math.abs)) / 127);
  new Float32Array(scales.buffer, scales.byteOffset, 1)[0] = own;
  const small = new Int8Array(scales.buffer, scales.byteOffset + 4, parts);
  wanted.forEach((scale, p) => small[p] = own === 0 ? 0 : Math.round(scale / own));
  for (let i = 0; i < bigBlock; i++) {
    const p = i >> 4, scale = own * small[p], byte = 8 * (i % 4);
    const q = scale === 0 || i >= values.length ? 0 : Math.round(values[i] / scale);
    const bits = Math.max(-32, Math.min(31, q)) + 32;
    words[i >> 3] |= (bits & 15) << byte + (i & 4);
    words[lowWords + p] |= bits >> 4 << byte + 2 * (i >> 2 & 3);
  }
}

function pack(values: Float32Array, shape: WeightShape): WeightArrays<BlockBuffers> {
  checkCount(values, shape);
  checkFinite(values);
  const { out, in: inSize } = shape, blocks = bigBlocksOf(inSize);
  const words = new Uint32Array(out * blocks * wordsOfBlock),
    scales = new Uint32Array(out * blocks * scaleWords);
  for (let b = 0; b < out * blocks; b++) {
    const first = (b % blocks) * bigBlock, begin = Math.floor(b / blocks) * inSize + first;
    packBlock(values.subarray(begin, begin + Math.min(bigBlock, inSize - first)), {
      words: words.subarray(b * wordsOfBlock, (b + 1) * wordsOfBlock),
      scales: scales.subarray(b * scaleWords, (b + 1) * scaleWords),
    });
  }
  return { words, scales };
}

/** 6 bits in blocks of 256: 6.625 bits a number. */
export const q6_k: WeightFormat<BlockBuffers> = {
  name: "q6_k",
  doc: "whole numbers of 6 bits in blocks of 256, with a scale for each 16",
  block: bigBlock,
  buffers: {
    words: { access: "read", dtypes: ["uint32"], doc: "(out, ceil(in / 256) * 48), row-major" },
    scales: { access: "read", dtypes: ["uint32"], doc: "(out, ceil(in / 256) * 5), row-major" },
  },
  stepBytes: 12,
  rowElements: (inSize) => ({
    words: bigBlocksOf(inSize) * wordsOfBlock,
    scales: bigBlocksOf(inSize) * scaleWords,
  }),
  check: checkSizes,
  quads,
  steps,
  pack,
  rows,
  wasm: (sizes, bias) => blocksWasm("q6_k", sizes, bias),
};

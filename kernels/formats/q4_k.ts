/**
 * Weights in blocks of 256 whole numbers of 4 bits, with a scale and a minimum for each 32: ggml's Q4_K.
 *
 * An element is d s q - e m. d and e are a block's own; s and m, from 0 to 63, are those of its eighth; q is 0 to 15. A
 * weight (out, in) has `blocks` = ceil(in / 256) blocks a row. It is stored as
 *
 * - `words` (out, blocks * 32) uint32: q - 8, placed as in blocks of 32 of 4 bits (q32/blocks.ts);
 * - `scales` (out, blocks * 6) uint32: d and e as the bits of float32, then 8 bytes s, then 8 bytes m.
 *
 * d and e have 11 significant bits, so d s q and e m are exact as float32, and an element is rounded once.
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
import { bigBlock, bigBlocksOf, checkFinite, elevenBitsAway, endedQuad } from "./k_blocks.ts";
import type { BlockBuffers } from "./q32/blocks.ts";
import { halvesFunctions, numbersFunctions, quadFactor, quadsOfWord } from "./q32/wgsl.ts";

/** Elements that share a scale and a minimum, and those parts of a block. */
const part = 32, parts = bigBlock / part;

/** Words of a block: its numbers, and its scales. */
const wordsOfBlock = bigBlock / 8, scaleWords = 6;

/** Words of a row that a step takes. */
const wordsOfStep = 2;

/** `fn words_scale(begin, part) -> vec2f`: scale and minimum of a part of the row that begins at a word. */
const scaleFunction = `fn words_scale(begin: u32, part: u32) -> vec2f {
  let at = ${scaleWords} * (begin / ${wordsOfBlock} + part / ${parts});
  let word = at + 2 + part / 4 % 2;
  let whole = (vec2u(scales[word], scales[word + 2]) >> vec2u(8 * (part % 4))) & vec2u(255);
  return bitcast<vec2f>(vec2u(scales[at], scales[at + 1])) * vec2f(whole);
}`;

const rowBegin = (length: string, row: string): string =>
  `${row} * (${wordsOfBlock} * ((${length} + ${bigBlock - 1}) / ${bigBlock}))`;

function quads({ role, length }: LineText): QuadText {
  const number = `${quadFactor(0)} * numbers_0(words[begin + quad / 2] >> (4 * (quad & 1)))`;
  return {
    types: ["u32", "u32"],
    functions: `${scaleFunction}
${numbersFunctions(4)}
fn ${role}_begin(line: u32) -> u32 { return ${rowBegin(length.text, "line")}; }
fn ${role}_quad(begin: u32, quad: u32) -> vec4f {
  let scale = words_scale(begin, quad / ${part / 4});
  ${endedQuad(`scale.x * (${number} + vec4f(8)) - vec4f(scale.y)`, length)}
}`,
  };
}

/** x is zero past a row's end, so that what stands there does not matter. */
function steps(inSize: number): WeightSteps {
  const stepsOfPart = part / 8 / wordsOfStep, stepsOfBlock = parts * stepsOfPart;
  return {
    types: ["vec2u", "u32"],
    functions: `${scaleFunction}\n${halvesFunctions(4)}`,
    count: bigBlocksOf(inSize) * stepsOfBlock,
    steps: `((uniforms.in + ${bigBlock - 1}) / ${bigBlock}) * ${stepsOfBlock}`,
    begin: (column) => rowBegin("uniforms.in", column),
    load: (begin, k) => `words[${begin} / ${wordsOfStep} + ${k}]`,
    quads: ["x", "y"].flatMap((word) =>
      quadsOfWord[4].map((shift) => (w: string) => `halves_${shift}(${w}.${word})`)
    ),
    scaled: {
      scale: (begin, k) => `words_scale(${begin}, (${k}) / ${stepsOfPart})`,
      order: "xzyw",
      // Of the fraction alone: q is wanted, not q - 8.
      offset: 64,
      hasMinimum: true,
    },
  };
}

/** Scale and minimum of each part of some blocks. */
function partScales(scales: ArrayLike<number>, { begin, end }: { begin: number; end: number }) {
  const count = (end - begin) * parts, by = new Float32Array(count), less = new Float32Array(count);
  const bits = new Uint32Array(2), own = new Float32Array(bits.buffer);
  for (let block = begin; block < end; block++) {
    const at = scaleWords * block, to = (block - begin) * parts;
    bits[0] = scales[at];
    bits[1] = scales[at + 1];
    for (let i = 0; i < parts; i++) {
      const shift = 8 * (i % 4), word = at + 2 + (i >> 2);
      by[to + i] = own[0] * (scales[word] >>> shift & 255);
      less[to + i] = own[1] * (scales[word + 2] >>> shift & 255);
    }
  }
  return { by, less };
}

function rows(
  { words, scales }: WeightArrays<BlockBuffers>,
  { out, in: inSize }: WeightShape,
  { begin = 0, end = out, into = new Float32Array((end - begin) * inSize) }: WeightRows = {},
): Float32Array {
  const blocks = bigBlocksOf(inSize), partsOfRow = blocks * parts;
  for (let row = begin; row < end; row++) {
    const { by, less } = partScales(scales, { begin: row * blocks, end: (row + 1) * blocks });
    const from = row * blocks * wordsOfBlock, to = (row - begin) * inSize;
    for (let p = 0; p < partsOfRow; p++) {
      const first = p * part, most = Math.min(part, inSize - first);
      for (let i = 0; i < most; i++) {
        // Byte i % 4 of a word has element i in its low half, and i + 4 in its high half.
        const q = (words[from + (first + i >> 3)] >>> 8 * (i % 4) + (i & 4) & 15) ^ 8;
        into[to + first + i] = by[p] * q - less[p];
      }
    }
  }
  return into;
}

/** Scale and minimum of a part of a row: its least number, or 0, becomes 0, its greatest 15. */
function rangeOf(values: Float32Array): { readonly scale: number; readonly minimum: number } {
  let least = 0, greatest = 0;
  for (const value of values) {
    least = Math.min(least, value);
    greatest = Math.max(greatest, value);
  }
  return { scale: (greatest - least) / 15, minimum: -least };
}

/** One block, from at most 256 numbers. */
function packBlock(
  values: Float32Array,
  { words, scales }: { words: Uint32Array; scales: Uint32Array },
): void {
  const ranges = Array.from({ length: parts }, (_, i) => rangeOf(values.subarray(i * part, (i + 1) * part)));
  const own = new Float32Array(scales.buffer, scales.byteOffset, 2);
  own[0] = elevenBitsAway(Math.max(...ranges.map(({ scale }) => scale)) / 63);
  own[1] = elevenBitsAway(Math.max(...ranges.map(({ minimum }) => minimum)) / 63);
  const small = new Uint8Array(scales.buffer, scales.byteOffset + 8, 2 * parts);
  ranges.forEach(({ scale, minimum }, i) => {
    small[i] = own[0] === 0 ? 0 : Math.round(scale / own[0]);
    small[parts + i] = own[1] === 0 ? 0 : Math.round(minimum / own[1]);
  });
  for (let i = 0; i < bigBlock; i++) {
    const p = Math.floor(i / part), by = own[0] * small[p], less = own[1] * small[parts + p];
    const q = by === 0 || i >= values.length ? 0 : Math.round((values[i] + less) / by);
    words[i >> 3] |= (Math.max(0, Math.min(15, q)) ^ 8) << 8 * (i % 4) + (i & 4);
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

/** 4 bits in blocks of 256 with minima: 4.75 bits a number. */
export const q4_k: WeightFormat<BlockBuffers> = {
  name: "q4_k",
  doc: "whole numbers of 4 bits in blocks of 256, with a scale and a minimum for each 32",
  block: bigBlock,
  buffers: {
    words: { access: "read", dtypes: ["uint32"], doc: "(out, ceil(in / 256) * 32), row-major" },
    scales: { access: "read", dtypes: ["uint32"], doc: "(out, ceil(in / 256) * 6), row-major" },
  },
  stepBytes: 4 * wordsOfStep,
  rowElements: (inSize) => ({
    words: bigBlocksOf(inSize) * wordsOfBlock,
    scales: bigBlocksOf(inSize) * scaleWords,
  }),
  check: checkSizes,
  quads,
  steps,
  pack,
  rows,
  wasm: (sizes, bias) => blocksWasm("q4_k", sizes, bias),
};

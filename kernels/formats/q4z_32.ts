/**
 * Weights in blocks of 32 whole numbers of 4 bits that share a scale and a zero: what GPTQ without symmetry and AWQ store.
 *
 * An element is s (q - z). q is 0 to 15; z is a whole number from 0 to 16. A weight (out, in) has `blocks` = ceil(in / 32)
 * blocks a row; the last is filled up with elements of 0. It is stored as
 *
 * - `words` (out, blocks * 4) uint32: q - 8, placed as in blocks of 32 of 4 bits (q32/blocks.ts);
 * - `scales` (out, blocks) uint32: s as the bits of float32, whose 13 lowest are 0, and z in these.
 *
 * s has 11 significant bits, as float16 has, so s q and s z are exact as float32, and so is an element.
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
import { checkFinite, elevenBitsAway } from "./k_blocks.ts";
import { type BlockBuffers, blockSize, blocksOf } from "./q32/blocks.ts";
import { halvesFunctions, numbersFunctions, quadFactor, quadsOfWord } from "./q32/wgsl.ts";

/** Words of a block, and of a row that a step takes. */
const wordsOfBlock = 4, wordsOfStep = 2;

/** Bits of a scale's word that are the zero. */
const zeroBits = 0x1fff;

/** The greatest zero. */
const mostZero = 16;

/** `fn words_scale(begin, block) -> vec2f`: the scale, and the zero times it, of a block of the row that begins at a word. */
const scaleFunction = `fn words_scale(begin: u32, block: u32) -> vec2f {
  let word = scales[begin / ${wordsOfBlock} + block];
  let scale = bitcast<f32>(word & ${(~zeroBits >>> 0).toString()});
  return vec2f(scale, scale * f32(word & ${zeroBits}));
}`;

const rowBegin = (length: string, row: string): string =>
  `${row} * (${wordsOfBlock} * ((${length} + ${blockSize - 1}) / ${blockSize}))`;

function quads({ role, length }: LineText): QuadText {
  const number = `${quadFactor(0)} * numbers_0(words[begin + quad / 2] >> (4 * (quad & 1)))`;
  return {
    types: ["u32", "u32"],
    functions: `${scaleFunction}
${numbersFunctions(4)}
fn ${role}_begin(line: u32) -> u32 { return ${rowBegin(length.text, "line")}; }
fn ${role}_quad(begin: u32, quad: u32) -> vec4f {
  let scale = words_scale(begin, quad / ${blockSize / 4});
  return scale.x * (${number} + vec4f(8)) - vec4f(scale.y);
}`,
  };
}

function steps(inSize: number): WeightSteps {
  const stepsOfBlock = wordsOfBlock / wordsOfStep;
  return {
    types: ["vec2u", "u32"],
    functions: `${scaleFunction}\n${halvesFunctions(4)}`,
    count: blocksOf(inSize) * stepsOfBlock,
    steps: `((uniforms.in + ${blockSize - 1}) / ${blockSize}) * ${stepsOfBlock}`,
    begin: (column) => rowBegin("uniforms.in", column),
    load: (begin, k) => `words[${begin} / ${wordsOfStep} + ${k}]`,
    quads: ["x", "y"].flatMap((word) =>
      quadsOfWord[4].map((shift) => (w: string) => `halves_${shift}(${w}.${word})`)
    ),
    scaled: {
      scale: (begin, k) => `words_scale(${begin}, (${k}) / ${stepsOfBlock})`,
      order: "xzyw",
      // Of the fraction alone: q is wanted, not q - 8.
      offset: 64,
      hasMinimum: true,
    },
  };
}

const bits = new Uint32Array(1), float = new Float32Array(bits.buffer);

/**
 * The word of a scale and a zero.
 *
 * @returns undefined for a scale of more than 11 significant bits, and for a zero above 16: no block can have them.
 */
export function scaleWord(scale: number, zero: number): number | undefined {
  float[0] = scale;
  return float[0] === scale && (bits[0] & zeroBits) === 0 && zero >= 0 && zero <= mostZero
    ? (bits[0] | zero) >>> 0
    : undefined;
}

function scaleOf(word: number): number {
  bits[0] = word & ~zeroBits;
  return float[0];
}

function rows(
  { words, scales }: WeightArrays<BlockBuffers>,
  { out, in: inSize }: WeightShape,
  { begin = 0, end = out, into = new Float32Array((end - begin) * inSize) }: WeightRows = {},
): Float32Array {
  const blocks = blocksOf(inSize);
  for (let row = begin; row < end; row++) {
    for (let b = 0; b < blocks; b++) {
      const i = row * blocks + b, scale = scaleOf(scales[i]), zero = scales[i] & zeroBits;
      const first = b * blockSize, most = Math.min(blockSize, inSize - first);
      const to = (row - begin) * inSize + first;
      for (let k = 0; k < most; k++) {
        const q = (words[wordsOfBlock * i + (k >> 3)] >>> 8 * (k % 4) + (k & 4) & 15) ^ 8;
        into[to + k] = scale * (q - zero);
      }
    }
  }
  return into;
}

/** One block, from at most 32 numbers: its least, or 0, becomes about 0, its greatest 15. */
function packBlock(values: Float32Array, words: Uint32Array): number {
  let least = 0, greatest = 0;
  for (const value of values) {
    least = Math.min(least, value);
    greatest = Math.max(greatest, value);
  }
  const scale = elevenBitsAway((greatest - least) / 15);
  const zero = scale === 0 ? 0 : Math.min(15, Math.round(-least / scale));
  for (let k = 0; k < blockSize; k++) {
    const q = scale === 0 || k >= values.length ? zero : Math.round(values[k] / scale) + zero;
    words[k >> 3] |= (Math.max(0, Math.min(15, q)) ^ 8) << 8 * (k % 4) + (k & 4);
  }
  return scaleWord(scale, zero)!;
}

function pack(values: Float32Array, shape: WeightShape): WeightArrays<BlockBuffers> {
  checkCount(values, shape);
  checkFinite(values);
  const { out, in: inSize } = shape, blocks = blocksOf(inSize);
  const words = new Uint32Array(out * blocks * wordsOfBlock), scales = new Uint32Array(out * blocks);
  for (let i = 0; i < scales.length; i++) {
    const first = (i % blocks) * blockSize, begin = Math.floor(i / blocks) * inSize + first;
    scales[i] = packBlock(
      values.subarray(begin, begin + Math.min(blockSize, inSize - first)),
      words.subarray(wordsOfBlock * i, wordsOfBlock * (i + 1)),
    );
  }
  return { words, scales };
}

/** 4 bits in blocks of 32 with zeros: 5 bits a number. */
export const q4z_32: WeightFormat<BlockBuffers> = {
  name: "q4z_32",
  doc: `whole numbers of 4 bits in blocks of ${blockSize} that share a scale and a zero`,
  block: blockSize,
  buffers: {
    words: { access: "read", dtypes: ["uint32"], doc: "(out, ceil(in / 32) * 4), row-major" },
    scales: { access: "read", dtypes: ["uint32"], doc: "(out, ceil(in / 32)), row-major" },
  },
  stepBytes: 4 * wordsOfStep,
  rowElements: (inSize) => ({ words: blocksOf(inSize) * wordsOfBlock, scales: blocksOf(inSize) }),
  check: checkSizes,
  quads,
  steps,
  pack,
  rows,
  wasm: (sizes, bias) => blocksWasm("q4z_32", sizes, bias),
};

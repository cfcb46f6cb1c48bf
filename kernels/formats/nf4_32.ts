/**
 * Weights in blocks of 32 numbers of NormalFloat's 16 (QLoRA, Dettmers et al. 2023, arXiv:2305.14314), which share a scale:
 * what bitsandbytes stores as `nf4`.
 *
 * An element is t[q] a: t is the table {@linkcode nf4Numbers}, a the greatest magnitude of the block. A weight (out, in)
 * has `blocks` = ceil(in / 32) blocks a row; the last is filled up with zeros. It is stored as
 *
 * - `words` (out, blocks * 4) uint32: q, from 0 to 15, placed as in blocks of 32 of 4 bits (q32/blocks.ts);
 * - `scales` (out, blocks) float32: a. An element is rounded once, to float32.
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
import { checkFinite } from "./k_blocks.ts";
import { type BlockBuffers, blockSize, blocksOf } from "./q32/blocks.ts";

/** Words of a block, and of a row that a step takes. */
const wordsOfBlock = 4, wordsOfStep = 2;

/** The 16 numbers, ascending: quantiles of the normal distribution, and 0. */
export const nf4Numbers: Float32Array = Float32Array.of(
  ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635],
  ...[-0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725],
  ...[0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941],
  ...[0.7229568362236023, 1],
);

/** Where the table has 0. */
const zero = nf4Numbers.indexOf(0);

/** The numbers halfway between neighbours: up to there a number becomes the lower one. */
const halfways = Array.from(nf4Numbers.subarray(1), (number, i) => (nf4Numbers[i] + number) / 2);

/** `fn nf4_quad(word) -> vec4f`: the numbers of the low halves of a word's bytes. */
const numbersFunction = `const nf4_numbers = array<f32, 16>(${Array.from(nf4Numbers, String).join(", ")});
fn nf4_quad(word: u32) -> vec4f {
  let q = (vec4u(word) >> vec4u(0, 8, 16, 24)) & vec4u(15);
  return vec4f(nf4_numbers[q.x], nf4_numbers[q.y], nf4_numbers[q.z], nf4_numbers[q.w]);
}`;

const rowBegin = (length: string, row: string): string =>
  `${row} * (${wordsOfBlock} * ((${length} + ${blockSize - 1}) / ${blockSize}))`;

function quads({ role, length }: LineText): QuadText {
  return {
    types: ["u32", "f32"],
    functions: `${numbersFunction}
fn ${role}_begin(line: u32) -> u32 { return ${rowBegin(length.text, "line")}; }
fn ${role}_quad(begin: u32, quad: u32) -> vec4f {
  let numbers = nf4_quad(words[begin + quad / 2] >> (4 * (quad & 1)));
  return scales[begin / ${wordsOfBlock} + quad / ${blockSize / 4}] * numbers;
}`,
  };
}

function steps(inSize: number): WeightSteps {
  const stepsOfBlock = wordsOfBlock / wordsOfStep;
  return {
    types: ["vec2u", "f32"],
    functions: numbersFunction,
    count: blocksOf(inSize) * stepsOfBlock,
    steps: `((uniforms.in + ${blockSize - 1}) / ${blockSize}) * ${stepsOfBlock}`,
    begin: (column) => rowBegin("uniforms.in", column),
    load: (begin, k) => `words[${begin} / ${wordsOfStep} + ${k}]`,
    quads: ["x", "y"].flatMap((word) =>
      [0, 4].map((shift) => (w: string) => `nf4_quad(${w}.${word} >> ${shift})`)
    ),
    scaled: {
      scale: (begin, k) => `scales[${begin} / ${wordsOfBlock} + (${k}) / ${stepsOfBlock}]`,
      order: "xyzw",
      offset: 0,
    },
  };
}

function rows(
  { words, scales }: WeightArrays<BlockBuffers>,
  { out, in: inSize }: WeightShape,
  { begin = 0, end = out, into = new Float32Array((end - begin) * inSize) }: WeightRows = {},
): Float32Array {
  const blocks = blocksOf(inSize);
  for (let row = begin; row < end; row++) {
    for (let b = 0; b < blocks; b++) {
      const i = row * blocks + b, scale = scales[i];
      const first = b * blockSize, most = Math.min(blockSize, inSize - first);
      const to = (row - begin) * inSize + first;
      for (let k = 0; k < most; k++) {
        into[to + k] = scale * nf4Numbers[words[wordsOfBlock * i + (k >> 3)] >>> 8 * (k % 4) + (k & 4) & 15];
      }
    }
  }
  return into;
}

/** The place of the nearest number. */
function nearest(value: number): number {
  let q = 0;
  while (q < halfways.length && value > halfways[q]) q++;
  return q;
}

function pack(values: Float32Array, shape: WeightShape): WeightArrays<BlockBuffers> {
  checkCount(values, shape);
  checkFinite(values);
  const { out, in: inSize } = shape, blocks = blocksOf(inSize);
  const words = new Uint32Array(out * blocks * wordsOfBlock), scales = new Float32Array(out * blocks);
  for (let i = 0; i < scales.length; i++) {
    const first = (i % blocks) * blockSize, begin = Math.floor(i / blocks) * inSize + first;
    const own = values.subarray(begin, begin + Math.min(blockSize, inSize - first));
    scales[i] = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    for (let k = 0; k < blockSize; k++) {
      const q = scales[i] === 0 || k >= own.length ? zero : nearest(own[k] / scales[i]);
      words[wordsOfBlock * i + (k >> 3)] |= q << 8 * (k % 4) + (k & 4);
    }
  }
  return { words, scales };
}

/** NormalFloat of 4 bits in blocks of 32: 5 bits a number. */
export const nf4_32: WeightFormat<BlockBuffers> = {
  name: "nf4_32",
  doc: `NormalFloat of 4 bits in blocks of ${blockSize} that share a scale`,
  block: blockSize,
  buffers: {
    words: { access: "read", dtypes: ["uint32"], doc: "(out, ceil(in / 32) * 4), row-major" },
    scales: { access: "read", dtypes: ["float32"], doc: "(out, ceil(in / 32)), row-major" },
  },
  stepBytes: 4 * wordsOfStep,
  rowElements: (inSize) => ({ words: blocksOf(inSize) * wordsOfBlock, scales: blocksOf(inSize) }),
  check: checkSizes,
  quads,
  steps,
  pack,
  rows,
  wasm: (sizes, bias) => blocksWasm("nf4_32", sizes, bias),
};

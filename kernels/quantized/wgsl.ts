/**
 * WGSL that reads quantised weights: see format.ts for where their bits are.
 *
 * A number becomes a float in two operations: its bits, made unsigned by turning the highest one, are laid into the
 * fraction of 2^23, and what that is too large by is subtracted. Both are exact. Two of four numbers stay at the higher
 * byte of 16 bits, and come out as 256 times what they are; those of the higher halves of bytes, as 16 times. These
 * units are divided out later, of x or of the scale: they are powers of two.
 *
 * @module
 */
import { loader } from "../half.ts";
import type { DType } from "../kernel.ts";
import type { Bits } from "./format.ts";

/** Of the quads of four numbers in a word, in the order of their elements: the lowest bit of the first number. */
export const quadsOfWord: Readonly<Record<Bits, readonly number[]>> = { 8: [0], 4: [0, 4] };

/** Names and sizes of a quantised weight in WGSL. */
export interface QuantizedText {
  readonly words: string;
  readonly scales: string;
  readonly scaleType: DType;
  readonly bits: Bits;
  /** Expression of the elements of a row. */
  readonly length: string;
}

/** Units of a quad's numbers. */
const unitsOf = (shift: number): number[] => [1, 256, 1, 256].map((unit) => unit * 2 ** shift);

/** WGSL vector that a quad, or what it is multiplied by, is to be multiplied by. */
export function quadFactor(shift: number): string {
  return `vec4f(${unitsOf(shift).map((unit) => (1 / unit).toString()).join(", ")})`;
}

/** The functions of {@linkcode quantizedFunctions} that unpack a quad: `numbers_<shift>`. */
function unpackFunction(bits: Bits, shift: number): string {
  const half = 2 ** (bits - 1), units = unitsOf(shift);
  const masks = units.map((unit) => `${(2 ** bits - 1) * unit}`).join(", ");
  return `fn numbers_${shift}(word: u32) -> vec4f {
  let low = word ^ ${half * (bits === 8 ? 0x01010101 : 0x11111111)};
  let high = low >> 16;
  let fraction = vec4u(low, low, high, high) & vec4u(${masks});
  return bitcast<vec4f>(fraction | vec4u(0x4b000000)) - vec4f(${
    units.map((unit) => 2 ** 23 + half * unit).join(", ")
  });
}`;
}

/**
 * `fn numbers_<shift>(word) -> vec4f` of each quad, in units of {@linkcode quadFactor}, and
 * `fn <words>_scale(begin, block) -> f32` of a block of the row that begins at a word.
 */
export function quantizedFunctions({ words, scales, scaleType, bits }: QuantizedText): string {
  return `${loader(scales, scaleType)}
${quadsOfWord[bits].map((shift) => unpackFunction(bits, shift)).join("\n")}
fn ${words}_scale(begin: u32, block: u32) -> f32 { return ${scales}_at(begin / ${bits} + block); }`;
}

/** WGSL of the word that a row begins at. */
export function rowBegin({ bits, length }: QuantizedText, row: string): string {
  return `${row} * (${bits} * ((${length} + 31) / 32))`;
}

/** WGSL statements that return elements 4 quad to 4 quad + 3 of the row that begins at a word. */
export function quadBody({ words, bits }: QuantizedText): string {
  const word = bits === 8 ? `${words}[begin + quad]` : `${words}[begin + quad / 2] >> (4 * (quad & 1))`;
  return `return ${words}_scale(begin, quad / 8) * ${quadFactor(0)} * numbers_0(${word});`;
}

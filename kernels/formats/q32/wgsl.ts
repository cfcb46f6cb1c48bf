/**
 * WGSL that reads quantised weights: see blocks.ts for where their bits are.
 *
 * A number becomes a float in two exact operations. Its bits, made unsigned by turning the highest one, are laid into the
 * fraction of 2^23; then the excess is subtracted. Two of four numbers stay at the higher byte of 16 bits, and come out
 * 256 times too large. Numbers in the higher halves of bytes come out 16 times too large. These units are divided out
 * later, of x or of the scale: they are powers of two.
 *
 * @module
 */
import { loader } from "../../half.ts";
import type { DType } from "../../kernel.ts";
import type { Bits } from "./blocks.ts";

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

/** The function of {@linkcode numbersFunctions} that unpacks a quad. */
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
 * `fn <words>_scale(begin, block) -> f32` of a block of the row that begins at a word. Where rows are known to begin with
 * pairs of scales, a block's scale is in the same half of its pair in all rows.
 */
export function scaleFunction(
  { words, scales, scaleType, bits }: QuantizedText,
  { pairs }: { readonly pairs: boolean },
): string {
  const at = `begin / ${bits} + block`;
  if (scaleType === "bfloat16" && pairs) {
    return `fn ${words}_scale(begin: u32, block: u32) -> f32 {
  let shift = 16 * (1 - block % 2);
  return bitcast<f32>((${scales}[(${at}) / 2] << shift) & 0xffff0000);
}`;
  }
  return `${loader(scales, scaleType)}
fn ${words}_scale(begin: u32, block: u32) -> f32 { return ${scales}_at(${at}); }`;
}

/** `fn numbers_<shift>(word) -> vec4f` of each quad, in units of {@linkcode quadFactor}. */
export function numbersFunctions(bits: Bits): string {
  return quadsOfWord[bits].map((shift) => unpackFunction(bits, shift)).join("\n");
}

/**
 * `fn halves_<shift>(word) -> vec4f` of each quad: its numbers in the order 0, 2, 1, 3, each with {@linkcode halvesOffset}
 * added. One operation lays the bits of a pair of numbers into fractions of float16, with the highest bit turned. One
 * more for each number widens it. Taking the offset away again costs one product a step, of the sum of x, which is the
 * same for all columns. An x that is a thousand times the others costs digits, some 1e-5 to 1e-4 of the sum. That is less
 * than the rounding of the weight.
 */
export function halvesFunctions(bits: Bits): string {
  const pairs: Readonly<Record<Bits, Readonly<Record<number, readonly [string, string]>>>> = {
    8: { 0: ["word", "(word >> 8)"] },
    // Each at bits 4 to 7 of the fraction: the smaller the offset beside a number's unit, the less float32 rounds.
    4: { 0: ["(word << 4)", "(word >> 4)"], 4: ["word", "(word >> 8)"] },
  };
  const [mask, turned] = bits === 8 ? ["0x00ff00ff", "0x64806480"] : ["0x00f000f0", "0x54805480"];
  return quadsOfWord[bits].map((shift) => {
    const [first, second] = pairs[bits][shift].map((word) =>
      `unpack2x16float((${word} & ${mask}) ^ ${turned})`
    );
    return `fn halves_${shift}(word: u32) -> vec4f { return vec4f(${first}, ${second}); }`;
  }).join("\n");
}

/** What numbers of {@linkcode halvesFunctions} are too large by: 1024 or 64 of the fraction, and half of their range. */
export const halvesOffset: Readonly<Record<Bits, number>> = { 8: 1024 + 128, 4: 64 + 8 };

/** WGSL of the word that a row begins at. */
export function rowBegin({ bits, length }: QuantizedText, row: string): string {
  return `${row} * (${bits} * ((${length} + 31) / 32))`;
}

/** WGSL statements that return elements 4 quad to 4 quad + 3 of the row that begins at a word. */
export function quadBody({ words, bits }: QuantizedText): string {
  const word = bits === 8 ? `${words}[begin + quad]` : `${words}[begin + quad / 2] >> (4 * (quad & 1))`;
  return `return ${words}_scale(begin, quad / 8) * ${quadFactor(0)} * numbers_0(${word});`;
}

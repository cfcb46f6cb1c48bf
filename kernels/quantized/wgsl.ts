/**
 * WGSL that reads quantised weights: see format.ts for where their bits are.
 *
 * Bytes become numbers by shifts, as the builtin `unpack4xI8` does in most of its implementations; that is of a language
 * extension, which not every one has. Halves of bytes go to the upper half first: what comes out is 16 times the number.
 *
 * @module
 */
import { loader } from "../half.ts";
import type { DType } from "../kernel.ts";
import type { Bits } from "./format.ts";

/** WGSL constant that an unpacked number is divided by. */
const unit: Readonly<Record<Bits, number>> = { 8: 1, 4: 16 };

/** The quads of four numbers in a word, in the order of their elements. */
export const quadsOfWord: Readonly<Record<Bits, readonly ((word: string) => string)[]>> = {
  8: [(word) => `signed_bytes(${word})`],
  4: [
    (word) => `signed_bytes((${word} << 4) & 0xf0f0f0f0)`,
    (word) => `signed_bytes(${word} & 0xf0f0f0f0)`,
  ],
};

/** Names and sizes of a quantised weight in WGSL. */
export interface QuantizedText {
  readonly words: string;
  readonly scales: string;
  readonly scaleType: DType;
  readonly bits: Bits;
  /** Expression of the elements of a row. */
  readonly length: string;
}

/** What {@linkcode quadsOfWord} calls, and `fn <words>_scale(row, block) -> f32`, by which its numbers are multiplied. */
export function quantizedFunctions({ words, scales, scaleType, bits, length }: QuantizedText): string {
  return `${loader(scales, scaleType)}
fn signed_bytes(word: u32) -> vec4f {
  return vec4f(bitcast<vec4i>(vec4u(word) << vec4u(24, 16, 8, 0)) >> vec4u(24));
}
fn ${words}_scale(row: u32, block: u32) -> f32 {
  return ${scales}_at(row * ((${length} + 31) / 32) + block) * ${(1 / unit[bits]).toFixed(4)};
}`;
}

/** WGSL of the word `k` of a row. */
export function wordAt({ words, bits, length }: QuantizedText, row: string, k: string): string {
  return `${words}[${row} * (${bits} * ((${length} + 31) / 32)) + ${k}]`;
}

/** WGSL statements that return elements 4 quad to 4 quad + 3 of a line. */
export function quadBody(text: QuantizedText): string {
  const quads = quadsOfWord[text.bits];
  const value = quads.length === 1
    ? quads[0]("word")
    : `select(${quads[0]("word")}, ${quads[1]("word")}, (quad & 1) == 1)`;
  return `let word = ${wordAt(text, "line", quads.length === 1 ? "quad" : "(quad / 2)")};
  return ${text.words}_scale(line, quad / 8) * ${value};`;
}

/**
 * How a GPU multiplies by a quantised weight: few rows at the speed of memory, more in tiles.
 *
 * @module
 */
import { storageType } from "../half.ts";
import {
  type BufferSpec,
  type Choice,
  type DType,
  type Launch,
  type Limits,
  uniformStruct,
} from "../kernel.ts";
import { matvecDispatch, tiledLaunch } from "../linear/launch.ts";
import type { Matvec } from "../linear/matvec.ts";
import type { Operand } from "../linear/product.ts";
import { productWays, wayOf } from "../linear/ways.ts";
import { matvecPrelude, uniforms as denseUniforms } from "../linear/wgsl.ts";
import { type Bits, blockSize, type QuantizedShape } from "./format.ts";
import {
  halvesFunctions,
  halvesOffset,
  quadsOfWord,
  type QuantizedText,
  rowBegin,
  scaleFunction,
} from "./wgsl.ts";

/** Uniform words of the kernels with a quantised weight: those of the dense ones, and the bits of an element. */
export const uniforms = { ...denseUniforms, bits: "u32" } as const;

/** The buffers of a quantised weight (out, in). */
export const weightBuffers = {
  words: {
    access: "read",
    dtypes: ["uint32"],
    doc: "(out, ceil(in / 32) * bits), row-major: see quantized/format.ts",
  },
  scales: { access: "read", dtypes: ["bfloat16", "float32"], doc: "(out, ceil(in / 32)), row-major" },
} as const satisfies Record<string, BufferSpec>;

export type Sizes = Readonly<Record<keyof typeof uniforms, number>>;

/**
 * The weight's shape as a call's uniforms have it.
 *
 * @throws RangeError for bits that the format does not have, and for an empty weight.
 */
export function shapeOf({ out, in: inSize, bits }: Pick<Sizes, "out" | "in" | "bits">): QuantizedShape {
  if (bits !== 8 && bits !== 4) {
    throw new RangeError(`Cannot multiply by a weight of ${bits} bits: it must have 8 or 4`);
  }
  if (out < 1 || inSize < 1) {
    throw new RangeError(`Cannot multiply by a weight of (${out}, ${inSize}): both sizes must be positive`);
  }
  return { out, in: inSize, bits };
}

/** A weight in buffers `words` and `scales`: its bits, and the element type of the scales. */
export interface Format {
  readonly bits: Bits;
  readonly scaleType: DType;
}

/** Such a weight as the operand of a product. */
export function weightOperand(format: Format): Pick<Operand, "name" | "dtype" | "quantized"> {
  return { name: "words", dtype: "uint32", quantized: { scales: "scales", ...format } };
}

/** Words of a row that a step takes: a load of 8 bytes, 8 or 16 elements, so that neighbours read x side by side. */
const wordsOfStep = 2;

/** How a quantised weight is read for few rows; the scale is put to the sum of a step's products. */
function matvec(
  format: Format,
  { inSize, bias }: { readonly inSize: number; readonly bias: boolean },
): Matvec {
  const { bits, scaleType } = format, shifts = quadsOfWord[bits];
  const text: QuantizedText = { words: "words", scales: "scales", ...format, length: "uniforms.in" };
  const types = ["vec2u", storageType(scaleType)];
  return {
    prelude: `${uniformStruct(uniforms)}
${matvecPrelude({ names: ["words", "scales"], types, bias, inSize })}
${scaleFunction(text, { pairs: inSize % (2 * blockSize) === 0 })}
${halvesFunctions(bits)}`,
    steps: `((uniforms.in + 31) / 32) * ${bits / wordsOfStep}`,
    begin: (column) => rowBegin(text, column),
    load: (begin, k) => `words[${begin} / ${wordsOfStep} + ${k}]`,
    quads: ["x", "y"].flatMap((word) =>
      shifts.map((shift) => (w: string) => `halves_${shift}(${w}.${word})`)
    ),
    scaled: {
      scale: (begin, k) => `words_scale(${begin}, (${k}) / ${bits / wordsOfStep})`,
      order: "xzyw",
      offset: halvesOffset[bits],
    },
  };
}

/** The ways of y = or += x W^T (+ bias). */
export function quantizedLinearWays({ rows, in: inner, out: columns, bits }: Sizes, limits: Limits): Choice {
  return productWays({ rows, columns, inner, weight: `${bits} bits`, quantized: true }, limits);
}

/** The launch of y = or += x W^T (+ bias). */
export function quantizedLinearLaunch(
  sizes: Sizes,
  { bias, scaleType }: { readonly bias: boolean; readonly scaleType: DType },
  { limits, way = quantizedLinearWays(sizes, limits).ways[0] }: {
    readonly limits: Limits;
    readonly way?: string;
  },
): Launch {
  const format: Format = { bits: shapeOf(sizes).bits, scaleType };
  const chosen = wayOf(way);
  if ("walk" in chosen) {
    const inSize = sizes.in, reads = ["x", "words", "scales", ...(bias ? ["bias"] : [])];
    const steps = Math.ceil(inSize / blockSize) * format.bits / wordsOfStep;
    const text = matvec(format, { inSize, bias });
    return { dispatches: [matvecDispatch(text, { sizes, reads, steps, walk: chosen.walk }, limits)] };
  }
  return tiledLaunch(weightOperand(format), { sizes, bias, uniforms, tile: chosen.tile }, limits);
}

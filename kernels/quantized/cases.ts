/**
 * Inputs for tests and benches of the kernels with a quantised weight.
 *
 * @module
 */
import { bfloat16ToFloat32 } from "../half.ts";
import { type Case, nans, normals } from "../kernel.ts";
import { type Bits, blocksOf, quantize, wordsOf } from "./format.ts";
import type { uniforms } from "./launch.ts";

type Uniforms = keyof typeof uniforms;

/** Sizes of a case. */
export interface QuantizedSizes {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
  readonly bits: Bits;
  readonly accumulate?: number;
  readonly scaleType?: "bfloat16" | "float32";
}

/** What a case is called. */
export function caseName({ rows, in: inSize, out, bits, accumulate, scaleType }: QuantizedSizes): string {
  const options = `${accumulate ? ", accumulated" : ""}${scaleType ? `, ${scaleType} scales` : ""}`;
  return `${rows} x ${inSize} by ${out}, ${bits} bits${options}`;
}

/** The buffers of a random weight. */
export function randomWeight(
  shape: Pick<QuantizedSizes, "out" | "in" | "bits" | "scaleType">,
  random: () => number,
): { words: Uint32Array; scales: Uint16Array | Float32Array } {
  const { words, scales } = quantize(normals(shape.out * shape.in, random, 1 / Math.sqrt(shape.in)), shape);
  return { words, scales: shape.scaleType === "float32" ? bfloat16ToFloat32(scales) : scales };
}

/** A case of y = or += x W^T. */
export function productCase(sizes: QuantizedSizes): Case<"x" | "words" | "scales" | "y", Uniforms> {
  const { rows, in: inSize, out, accumulate = 0 } = sizes;
  return {
    name: caseName(sizes),
    uniforms: { rows, in: inSize, out, accumulate, bits: sizes.bits },
    dtypes: { scales: sizes.scaleType ?? "bfloat16" },
    make: (random) => ({
      x: normals(rows * inSize, random),
      ...randomWeight(sizes, random),
      y: accumulate ? normals(rows * out, random) : nans(rows * out),
    }),
  };
}

/** The buffers of a weight of any bits, made fast: for times, which do not depend on the numbers. */
export function anyWeight(
  shape: Pick<QuantizedSizes, "out" | "in" | "bits">,
  random: () => number,
): { words: Uint32Array; scales: Uint16Array } {
  const words = new Uint32Array(shape.out * wordsOf(shape));
  for (let i = 0; i < words.length; i++) words[i] = 2 ** 32 * random();
  return { words, scales: new Uint16Array(shape.out * blocksOf(shape.in)).fill(0x3800) };
}

/** Bytes that a product must move: the weight once, both activations once. */
export function productBytes({ rows, in: inSize, out, bits }: QuantizedSizes): number {
  return out * (4 * wordsOf({ in: inSize, bits }) + 2 * blocksOf(inSize)) + 4 * rows * (inSize + out);
}

/**
 * Inputs for tests and benches of the kernels with a quantised weight.
 *
 * @module
 */
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
}

/** What a case is called. */
export function caseName({ rows, in: inSize, out, bits, accumulate }: QuantizedSizes): string {
  return `${rows} x ${inSize} by ${out}, ${bits} bits${accumulate ? ", accumulated" : ""}`;
}

/** The buffers of a random weight. */
export function randomWeight(
  shape: { readonly out: number; readonly in: number; readonly bits: Bits },
  random: () => number,
): { words: Uint32Array; scales: Uint16Array } {
  const { words, scales } = quantize(normals(shape.out * shape.in, random, 1 / Math.sqrt(shape.in)), shape);
  return { words, scales };
}

/** A case of y = or += x W^T. */
export function productCase(sizes: QuantizedSizes): Case<"x" | "words" | "scales" | "y", Uniforms> {
  const { rows, in: inSize, out, accumulate = 0 } = sizes;
  return {
    name: caseName(sizes),
    uniforms: { rows, in: inSize, out, accumulate, bits: sizes.bits },
    make: (random) => ({
      x: normals(rows * inSize, random),
      ...randomWeight(sizes, random),
      y: accumulate ? normals(rows * out, random) : nans(rows * out),
    }),
  };
}

/** Bytes that a product must move: the weight once, both activations once. */
export function productBytes({ rows, in: inSize, out, bits }: QuantizedSizes): number {
  return out * (4 * wordsOf({ in: inSize, bits }) + 2 * blocksOf(inSize)) + 4 * rows * (inSize + out);
}

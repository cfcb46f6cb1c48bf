/**
 * Packed rows for tests and benches: several documents, one after the other in one buffer.
 *
 * @module
 */
import type { Sizes } from "../causal/wgsl.ts";

/** Documents by their lengths, and the heads that attend. */
export interface Packed {
  readonly documents: readonly number[];
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly window?: number;
  readonly softcap?: number;
}

/** For each row, where its document starts and where it ends. */
export function bounds(documents: readonly number[]): { first: Uint32Array; last: Uint32Array } {
  const first: number[] = [], last: number[] = [];
  for (const length of documents) {
    const start = first.length;
    for (let i = 0; i < length; i++) {
      first.push(start);
      last.push(start + length);
    }
  }
  return { first: Uint32Array.from(first), last: Uint32Array.from(last) };
}

/** The uniform words of packed rows. */
export function sizesOf({ documents, heads, kvHeads, headDim, window = 0, softcap = 0 }: Packed): Sizes {
  const rows = documents.reduce((sum, length) => sum + length, 0);
  return { rows, heads, kvHeads, headDim, window, softcap, scale: Math.fround(1 / Math.sqrt(headDim)) };
}

export const packedName = ({ documents, heads, kvHeads, headDim, window, softcap }: Packed): string =>
  [
    `documents of ${documents}, ${heads}/${kvHeads} heads of ${headDim}`,
    ...window ? [`window ${window}`] : [],
    ...softcap ? [`cap ${softcap}`] : [],
  ].join(", ");

/** Pairs of a row and a row it attends to. */
export const pairs = (documents: readonly number[]): number =>
  documents.reduce((sum, length) => sum + length * (length + 1) / 2, 0);

/** Sizes that the kernels are tested with: one row, odd ones, tiles of 32 and one more, several documents in a tile. */
export const packedCases: readonly Packed[] = [
  { documents: [1], heads: 1, kvHeads: 1, headDim: 1 },
  { documents: [3, 1, 7], heads: 4, kvHeads: 2, headDim: 7 },
  { documents: [32], heads: 2, kvHeads: 2, headDim: 32 },
  { documents: [5, 33, 26, 40], heads: 3, kvHeads: 1, headDim: 64 },
  { documents: [97], heads: 2, kvHeads: 1, headDim: 68 },
  { documents: [20, 15], heads: 1, kvHeads: 1, headDim: 256 },
  { documents: [2, 34], heads: 2, kvHeads: 1, headDim: 253 },
  { documents: [3, 70, 41], heads: 2, kvHeads: 1, headDim: 16, window: 8 },
  { documents: [5, 90], heads: 2, kvHeads: 2, headDim: 9, window: 40, softcap: 0.5 },
];

export const packedBenches: readonly Packed[] = [
  { documents: [2048], heads: 32, kvHeads: 8, headDim: 128 },
  { documents: Array(16).fill(256), heads: 32, kvHeads: 8, headDim: 128 },
];

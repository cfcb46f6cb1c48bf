/**
 * The coefficients of a module on the plane where they stand.
 *
 * @module
 */
import type { AdapterModule, LinearShape } from "../adapters/method.ts";

/** A module's spectrum, as its method tells it. */
export type ModuleSpectrum = ReturnType<NonNullable<AdapterModule["spectrum"]>>;

/** Coefficients by their places; entry l of every array is one coefficient. */
export interface SpectrumPoints {
  /** Coefficients of the file: more than there are points where only the greatest are told. */
  readonly total: number;
  /** The wavelet of a wavelet transform; absent where places are frequencies. */
  readonly wavelet?: string;
  /**
   * Rows. As frequencies: cycles over the rows of dW, from -floor(out / 2) to ceil(out / 2) - 1. As places of wavelets: 0 to
   * out - 1.
   */
  readonly u: Int32Array;
  /** Columns, in the same way. */
  readonly v: Int32Array;
  /** Coefficients as the file has them. */
  readonly c: Float32Array;
  /** The first and the last u and v that the shape has. */
  readonly uRange: readonly [number, number];
  readonly vRange: readonly [number, number];
  /** Pairs of coefficients that stand at mirror images of each other, (u, v) and (-u, -v): dW has their sum. */
  readonly mirroredPairs: number;
}

/** The frequency of bin k of a transform of this length, with negative frequencies: numpy's `fftfreq` times the length. */
export function signedFrequency(bin: number, length: number): number {
  return bin < length / 2 ? bin : bin - length;
}

/** The bin of minus a bin's frequency. */
export const mirrorBin = (bin: number, length: number): number => (length - bin) % length;

const frequencyRange = (length: number): readonly [number, number] => [
  -Math.floor(length / 2),
  Math.ceil(length / 2) - 1,
];

function countMirroredPairs({ u, v }: ModuleSpectrum, shape: LinearShape): number {
  const places = new Set<number>();
  for (let l = 0; l < u.length; l++) places.add(u[l] * shape.in + v[l]);
  let mirrored = 0;
  for (const place of places) {
    const row = Math.floor(place / shape.in), column = place % shape.in;
    const mirror = mirrorBin(row, shape.out) * shape.in + mirrorBin(column, shape.in);
    if (mirror !== place && places.has(mirror)) mirrored++;
  }
  return mirrored / 2;
}

/** The points of a module's spectrum, for a linear of this shape. */
export function spectrumPoints(spectrum: ModuleSpectrum, shape: LinearShape): SpectrumPoints {
  const { u, v, c, wavelet } = spectrum;
  if (wavelet !== undefined) {
    return {
      total: c.length,
      wavelet,
      u: Int32Array.from(u),
      v: Int32Array.from(v),
      c,
      uRange: [0, shape.out - 1],
      vRange: [0, shape.in - 1],
      mirroredPairs: 0,
    };
  }
  return {
    total: c.length,
    u: Int32Array.from(u, (bin) => signedFrequency(bin, shape.out)),
    v: Int32Array.from(v, (bin) => signedFrequency(bin, shape.in)),
    c,
    uRange: frequencyRange(shape.out),
    vRange: frequencyRange(shape.in),
    mirroredPairs: countMirroredPairs(spectrum, shape),
  };
}

/** Indices of the numbers with the greatest magnitudes, at most `count` of them, greatest first. */
export function greatestOf(values: Float32Array, count: number): Uint32Array {
  const before = (i: number, j: number): number => Math.abs(values[j]) - Math.abs(values[i]) || i - j;
  const chosen: number[] = [];
  // A heap would save little: a table has few rows.
  if (count < values.length / 100) {
    for (let i = 0; i < values.length; i++) {
      const last = chosen.at(-1);
      if (chosen.length === count && before(last!, i) < 0) continue;
      const at = chosen.findIndex((other) => before(i, other) < 0);
      chosen.splice(at < 0 ? chosen.length : at, 0, i);
      if (chosen.length > count) chosen.pop();
    }
    return Uint32Array.from(chosen);
  }
  return Uint32Array.from(values.keys()).sort(before).subarray(0, count);
}

/** The points with the greatest magnitudes, at most `most` of them, in the file's order. */
export function greatestPoints(points: SpectrumPoints, most: number): SpectrumPoints {
  if (points.c.length <= most) return points;
  const kept = greatestOf(points.c, most).sort();
  return {
    ...points,
    u: Int32Array.from(kept, (l) => points.u[l]),
    v: Int32Array.from(kept, (l) => points.v[l]),
    c: Float32Array.from(kept, (l) => points.c[l]),
  };
}

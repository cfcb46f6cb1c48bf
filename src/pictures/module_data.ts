/**
 * The numbers of a module's pictures: what its method honestly has. Nothing here draws, and a worker may send them.
 *
 * @module
 */
import type { LinearModule } from "../adapters/alone.ts";
import type { LinearShape } from "../adapters/method.ts";
import { type DeltaCells, deltaCells, type Reduction } from "./cells.ts";
import { type Histogram, histogram } from "./histogram.ts";
import { factorsOf } from "./products.ts";
import { singularValues } from "./singular.ts";
import { greatestPoints, type SpectrumPoints, spectrumPoints } from "./spectrum.ts";

/** A module's numbers. */
export interface ModuleData {
  readonly shape: LinearShape;
  /** The coefficients where they stand; absent where the method has no spectrum. */
  readonly points?: SpectrumPoints;
  readonly cells: DeltaCells;
  /** Of the coefficients where there are some, else of dW's elements. */
  readonly distribution: Histogram;
  /** The singular values of dW, where the method has factors. */
  readonly singularValues?: Float64Array;
}

/** How a module's numbers are made. */
export interface ModuleDataOptions {
  /** How blocks of a large dW become cells; by default the root mean square, which no oscillation cancels. */
  readonly reduction?: Reduction;
  /** Cells of the heat map at most; by default 2^18, about as many as its pixels on a screen. */
  readonly mostCells?: number;
  readonly signal?: AbortSignal;
}

/** Points of a spectrum at most: more would cover each other. */
const mostPoints = 5000;

/**
 * The numbers of one module's pictures.
 *
 * @param linear The module, made ready where its method needs the base's weight.
 * @param delta Its dW (out, in), as `deltaOf` or an adapter service makes it.
 * @throws RangeError where dW is not of the linear's shape; the signal's reason.
 */
export async function moduleData(
  linear: LinearModule,
  delta: Float32Array,
  { reduction = "rms", mostCells = 2 ** 18, signal }: ModuleDataOptions = {},
): Promise<ModuleData> {
  const { module, shape } = linear;
  if (delta.length !== shape.out * shape.in) {
    throw new RangeError(
      `Cannot draw dW of ${delta.length} elements: the linear is (${shape.out}, ${shape.in})`,
    );
  }
  const spectrum = module.spectrum?.(shape), factors = factorsOf(linear);
  return {
    shape,
    points: spectrum && greatestPoints(spectrumPoints(spectrum, shape), mostPoints),
    cells: await deltaCells(delta, shape, { mostCells, reduction, signal }),
    distribution: await histogram(spectrum?.c ?? delta, { signal }),
    singularValues: factors && await singularValues(factors, signal),
  };
}

/**
 * fast-check arbitraries of linears' shapes and of spectra.
 *
 * @module
 */
import fc from "fast-check";
import { frequencies } from "../../kernels/frequencies.ts";
import type { LinearShape } from "../adapters/method.ts";
import type { SparseSpectrum } from "./spectrum.ts";

/** Which shapes are made. */
export interface ShapeOptions {
  /** Of a side at most; default 64. */
  readonly longest?: number;
}

/** Which cases of a spectrum and a shape are made. */
export interface CaseOptions {
  /** Default {@linkcode shapes}. */
  readonly shapes?: fc.Arbitrary<LinearShape>;
  /** n at most; default 64. */
  readonly maxFrequencies?: number;
  /**
   * Whether frequencies are those that PEFT's seed draws, and `seed` is set: for implementations that draw them. By default
   * they are any.
   */
  readonly drawn?: boolean;
}

/** Lengths that break things: 1, powers of two and what is beside them, primes, odd squares. */
const notable = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 25, 31, 32, 33, 37, 48, 64, 96, 127, 128, 256, 257, 512];

/** Shapes (out, in) of linears' weights. */
export function shapes({ longest = 64 }: ShapeOptions = {}): fc.Arbitrary<LinearShape> {
  const length = fc.oneof(
    { withCrossShrink: true },
    fc.integer({ min: 1, max: longest }),
    fc.constantFrom(...notable.filter((one) => one <= longest)),
  );
  return fc.record({ out: length, in: length }, { noNullPrototype: true });
}

/** (n) numbers from -4 to 4 of four decimals, as float32: they read well, and hardly any 16-bit float holds one. */
export function numbers(n: number): fc.Arbitrary<Float32Array> {
  const one = fc.integer({ min: -40_000, max: 40_000 }).map((i) => i / 10_000);
  return fc.array(one, { minLength: n, maxLength: n, size: "max" }).map((values) =>
    Float32Array.from(values)
  );
}

/** PEFT's `scaling`. */
export const scalings: fc.Arbitrary<number> = fc.constantFrom(1, 150, -3.5);

/** PEFT's `random_loc_seed`. */
export const seeds: fc.Arbitrary<number> = fc.integer({ min: 0, max: 2 ** 32 - 1 });

interface Places extends Pick<SparseSpectrum, "u" | "v" | "seed"> {}

function placesOf(n: number, shape: LinearShape, drawn: boolean): fc.Arbitrary<Places> {
  if (drawn) return seeds.map((seed) => ({ ...frequencies(n, shape, { seed }), seed }));
  const flat = fc.uniqueArray(fc.nat(shape.out * shape.in - 1), { minLength: n, maxLength: n });
  return flat.map((places) => ({
    u: Uint32Array.from(places, (at) => Math.floor(at / shape.in)),
    v: Uint32Array.from(places, (at) => at % shape.in),
  }));
}

/** Spectra of a shape: few frequencies, many, and all there are. */
export function spectra(
  shape: LinearShape,
  { maxFrequencies = 64, drawn = false }: Omit<CaseOptions, "shapes"> = {},
): fc.Arbitrary<SparseSpectrum> {
  const most = Math.min(shape.out * shape.in, maxFrequencies);
  const count = fc.oneof(
    { withCrossShrink: true },
    fc.integer({ min: 1, max: Math.min(3, most) }),
    fc.integer({ min: 1, max: most }),
    fc.constant(most),
  );
  return count.chain((n) => fc.tuple(placesOf(n, shape, drawn), numbers(n), scalings)).map((
    [places, coefficients, scaling],
  ) => ({ ...places, coefficients, scaling }));
}

/** Shapes, each with a spectrum. */
export function spectralCases(
  { shapes: of = shapes(), ...options }: CaseOptions = {},
): fc.Arbitrary<{ readonly spectrum: SparseSpectrum; readonly shape: LinearShape }> {
  return of.chain((shape) => spectra(shape, options).map((spectrum) => ({ spectrum, shape })));
}

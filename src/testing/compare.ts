/**
 * Checks one claim about spectral reconstruction on many cases, and tells of the smallest case that breaks it.
 *
 * @module
 */
import fc from "fast-check";
import type { LinearShape } from "../adapters/method.ts";
import { type CaseOptions, spectralCases } from "./arbitraries.ts";
import { frobenius, type SparseSpectrum, type SpectralReconstruction } from "./spectrum.ts";

/** What a property is checked on. */
export interface SpectralCase {
  readonly spectrum: SparseSpectrum;
  readonly shape: LinearShape;
}

/** How a property is checked. */
export interface PropertyOptions extends CaseOptions {
  /**
   * The largest error that is accepted, in parts of `deltaNormBound`; default 1e-6. PEFT's own float32 results are 1e-7 to
   * 8e-7 from float64's.
   */
  readonly tolerance?: number;
  /** Cases to try; default 100. */
  readonly numRuns?: number;
  /** fast-check's seed and path, which a failure tells, to check the same cases again. */
  readonly seed?: number;
  readonly path?: string;
}

/** A property of spectral reconstruction; throws {@linkcode SpectralPropertyError} where an implementation lacks it. */
export type SpectralProperty = (
  implementation: SpectralReconstruction,
  options?: PropertyOptions,
) => Promise<void>;

/** What an implementation answered that breaks a property: the message tells the smallest case that was found. */
export class SpectralPropertyError extends Error {
  override readonly name = "SpectralPropertyError";
  /** The property's name, e.g. `linearity`. */
  readonly property: string;
  readonly counterexample: SpectralCase;

  constructor(
    message: string,
    { property, counterexample, cause }: {
      readonly property: string;
      readonly counterexample: SpectralCase;
      readonly cause?: unknown;
    },
  ) {
    super(message, { cause });
    this.property = property;
    this.counterexample = counterexample;
  }
}

/** dW of the implementation under test, (out, in), row-major; its length was checked. */
export type Build = (spectrum: SparseSpectrum, shape: LinearShape) => Promise<Float64Array>;

/** Two arrays (rows, columns) that must be the same. */
export interface Compared {
  readonly found: ArrayLike<number>;
  readonly expected: ArrayLike<number>;
  /** Columns of a row, to tell where they differ. */
  readonly columns: number;
  /** The largest Frobenius distance accepted, before the tolerance: 0 asks for equal numbers. */
  readonly size: number;
}

/** A claim about every case, with more of its own. */
export interface Claim<M> {
  readonly name: string;
  /** The claim as a sentence. */
  readonly states: string;
  /** What the claim needs beside a spectrum and a shape; told by name where it breaks. */
  readonly more: (given: SpectralCase) => fc.Arbitrary<M>;
  /** At most so many frequencies a case. */
  readonly maxFrequencies?: number;
  readonly compare: (build: Build, given: SpectralCase & { readonly more: M }) => Promise<Compared>;
}

class Mismatch extends Error {}

function checkNear({ found, expected, columns, size }: Compared, tolerance: number): void {
  const difference = Float64Array.from({ length: expected.length }, (_, i) => found[i] - expected[i]);
  const distance = frobenius(difference), within = tolerance * size;
  if (distance <= within) return;
  let worst = difference.findIndex(Number.isNaN);
  if (worst < 0) {
    worst = difference.reduce((most, value, i) => Math.abs(value) > Math.abs(difference[most]) ? i : most, 0);
  }
  const place = `[${Math.floor(worst / columns)}, ${worst % columns}]`;
  throw new Mismatch(
    `at ${place} it is ${shown(found[worst], 9)}, not ${shown(expected[worst], 9)}; ` +
      `the whole is off by ${distance.toPrecision(3)}, allowed are ${within.toPrecision(3)}`,
  );
}

/** Digits that read well: a float32 of four decimals has seven of them right. */
const shown = (value: number, digits = 7): string => String(Number(value.toPrecision(digits)));

/** Terms of a spectrum that a message shows. */
const shownTerms = 8;

function shownSpectrum({ coefficients, u, v, scaling, seed }: SparseSpectrum): string {
  const terms = Array.from(
    coefficients.subarray(0, shownTerms),
    (c, l) => `${shown(c)} at (${u[l]}, ${v[l]})`,
  );
  const others = coefficients.length > shownTerms ? `, and ${coefficients.length - shownTerms} more` : "";
  const drawn = seed === undefined ? "" : `, drawn with seed ${seed}`;
  return `n = ${coefficients.length}: ${terms.join(", ")}${others}; scaling ${scaling}${drawn}`;
}

function shownMore(more: unknown): string[] {
  return Object.entries(Object(more)).map(([name, value]) => {
    const text = ArrayBuffer.isView(value)
      ? `[${Array.from(value as Float32Array, (one) => shown(one)).join(", ")}]`
      : JSON.stringify(value);
    return `  ${name} = ${text}`;
  });
}

type Given<M> = SpectralCase & { readonly more: M };

function failure<M>(
  { name, states }: Claim<M>,
  { counterexample, errorInstance, seed, counterexamplePath }: fc.RunDetails<[Given<M>]>,
): Error {
  const [{ spectrum, shape, more }] = counterexample!;
  const what = errorInstance instanceof Mismatch ? errorInstance.message : `it throws ${errorInstance}`;
  const lines = [
    `Property "${name}" does not hold: ${states}`,
    `  dW (${shape.out}, ${shape.in}) of ${shownSpectrum(spectrum)}`,
    ...shownMore(more),
    `  ${what}`,
    `  to see it again: { seed: ${seed}, path: "${counterexamplePath}" }`,
  ];
  return new SpectralPropertyError(lines.join("\n"), {
    property: name,
    counterexample: { spectrum, shape },
    cause: errorInstance,
  });
}

/** Makes a property of a claim. */
export function spectralProperty<M>(claim: Claim<M>): SpectralProperty {
  return async (implementation, options = {}) => {
    const { tolerance = 1e-6, numRuns = 100, seed, path, ...cases } = options;
    const build: Build = async (spectrum, shape) => {
      const delta = await implementation(spectrum, shape);
      if (delta.length !== shape.out * shape.in) {
        throw new Mismatch(`dW has ${delta.length} elements, not ${shape.out} * ${shape.in}`);
      }
      return Float64Array.from(delta);
    };
    const most = Math.min(claim.maxFrequencies ?? Infinity, cases.maxFrequencies ?? Infinity);
    const arbitrary = spectralCases(most < Infinity ? { ...cases, maxFrequencies: most } : cases).chain((
      given,
    ) => claim.more(given).map((more): Given<M> => ({ ...given, more })));
    const checked = await fc.check(
      fc.asyncProperty(arbitrary, async (given) => {
        checkNear(await claim.compare(build, given), tolerance);
      }),
      { numRuns, ...(seed === undefined ? {} : { seed }), ...(path === undefined ? {} : { path }) },
    );
    if (checked.failed) throw failure(claim, checked);
  };
}

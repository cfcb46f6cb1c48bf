/**
 * Properties of spectral reconstruction, each a function that takes an implementation.
 *
 * Errors are bounded in parts of {@linkcode deltaNormBound}; where a property compares sums, the bound is the sum's.
 *
 * @module
 */
import fc from "fast-check";
import type { LinearShape } from "../adapters/method.ts";
import { numbers } from "./arbitraries.ts";
import { type SpectralProperty, spectralProperty } from "./compare.ts";
import {
  deltaNormBound,
  forwardAt,
  frobenius,
  keptCoefficients,
  referenceDelta,
  type SparseSpectrum,
} from "./spectrum.ts";

const nothing = (): fc.Arbitrary<Record<string, never>> => fc.constant({});

/** Quarters from -4 to 4: float32 holds them, and their products with the scalings. */
const factors = fc.integer({ min: -16, max: 16 }).map((i) => i / 4);

const modulo = (a: number, length: number): number => (a % length + length) % length;

/** The matrix whose element [p, q] is another's at [p + rows, q + columns], round the ends. */
function rolled(
  delta: Float64Array,
  { out, in: inFeatures }: LinearShape,
  [rows, columns]: readonly [number, number],
): Float64Array {
  return delta.map((_, i) => {
    const p = modulo(Math.floor(i / inFeatures) + rows, out);
    return delta[p * inFeatures + modulo(i % inFeatures + columns, inFeatures)];
  });
}

/** dW is the definition's, computed in float64. */
export const reference: SpectralProperty = spectralProperty({
  name: "reference",
  states: "dW is scaling * Re(IDFT2(F))",
  more: nothing,
  compare: async (build, { spectrum, shape }) => ({
    found: await build(spectrum, shape),
    expected: referenceDelta(spectrum, shape),
    columns: shape.in,
    size: deltaNormBound(spectrum, shape),
  }),
});

/** dW of coefficients that are zero is zero, every element of it. */
export const zero: SpectralProperty = spectralProperty({
  name: "zero",
  states: "dW of zeros is zero",
  more: nothing,
  compare: async (build, { spectrum, shape }) => ({
    found: await build({ ...spectrum, coefficients: spectrum.coefficients.map(() => 0) }, shape),
    expected: new Float64Array(shape.out * shape.in),
    columns: shape.in,
    size: 0,
  }),
});

/** dW is linear in the coefficients: dW(a c + d) = a dW(c) + dW(d). */
export const linearity: SpectralProperty = spectralProperty({
  name: "linearity",
  states: "dW(a c + d) = a dW(c) + dW(d)",
  more: ({ spectrum }) => fc.record({ a: factors, d: numbers(spectrum.coefficients.length) }),
  compare: async (build, { spectrum, shape, more: { a, d } }) => {
    const of = (coefficients: Float32Array): SparseSpectrum => ({ ...spectrum, coefficients });
    const c = spectrum.coefficients, sum = of(c.map((value, l) => a * value + d[l]));
    const [first, second] = [await build(spectrum, shape), await build(of(d), shape)];
    return {
      found: await build(sum, shape),
      expected: first.map((value, i) => a * value + second[i]),
      columns: shape.in,
      size: deltaNormBound(sum, shape) + Math.abs(a) * deltaNormBound(spectrum, shape) +
        deltaNormBound(of(d), shape),
    };
  },
});

/** dW is proportional to PEFT's `scaling`. */
export const scaling: SpectralProperty = spectralProperty({
  name: "scaling",
  states: "dW of a times the scaling is a times dW",
  more: () => fc.record({ a: factors }),
  compare: async (build, { spectrum, shape, more: { a } }) => ({
    found: await build({ ...spectrum, scaling: a * spectrum.scaling }, shape),
    expected: (await build(spectrum, shape)).map((value) => a * value),
    columns: shape.in,
    size: 2 * Math.abs(a) * deltaNormBound(spectrum, shape),
  }),
});

/** Coefficients are real, so that dW is point-symmetric: dW[-p, -q] = dW[p, q]. */
export const symmetry: SpectralProperty = spectralProperty({
  name: "symmetry",
  states: "dW[-p, -q] = dW[p, q]",
  more: nothing,
  compare: async (build, { spectrum, shape }) => {
    const { out, in: inFeatures } = shape;
    const delta = await build(spectrum, shape);
    const mirrored = delta.map((_, i) =>
      delta[modulo(-Math.floor(i / inFeatures), out) * inFeatures + modulo(-(i % inFeatures), inFeatures)]
    );
    return {
      found: delta,
      expected: mirrored,
      columns: inFeatures,
      size: 2 * deltaNormBound(spectrum, shape),
    };
  },
});

/** The squares of dW have the sum that Parseval's theorem tells from the coefficients. */
export const parseval: SpectralProperty = spectralProperty({
  name: "parseval",
  states: "the norm of dW is that of scaling * (F[u, v] + F[-u, -v]) / 2, divided by sqrt(out * in)",
  more: nothing,
  compare: async (build, { spectrum, shape }) => {
    const { out, in: inFeatures } = shape;
    const kept = keptCoefficients(spectrum, shape);
    const places = new Set(Array.from(spectrum.u, (u, l) => u * inFeatures + spectrum.v[l]));
    // What stands at a mirror without a coefficient of its own is there twice.
    const energy = kept.reduce((sum, value, l) => {
      const mirror = modulo(-spectrum.u[l], out) * inFeatures + modulo(-spectrum.v[l], inFeatures);
      return sum + (places.has(mirror) ? 1 : 2) * value ** 2;
    }, 0);
    return {
      found: [frobenius(await build(spectrum, shape))],
      expected: [Math.sqrt(energy / (out * inFeatures))],
      columns: 1,
      size: deltaNormBound(spectrum, shape),
    };
  },
});

/** The forward DFT of dW has the coefficients again. */
export const roundTrip: SpectralProperty = spectralProperty({
  name: "roundTrip",
  states: "DFT2(dW)[u, v] = scaling * (F[u, v] + F[-u, -v]) / 2",
  more: nothing,
  compare: async (build, { spectrum, shape }) => {
    return {
      found: forwardAt(await build(spectrum, shape), spectrum, shape),
      expected: keptCoefficients(spectrum, shape),
      columns: 1,
      size: Math.sqrt(shape.out * shape.in) * deltaNormBound(spectrum, shape),
    };
  },
});

/**
 * A shift of dW turns its waves. dW shifted by (s, t) and dW shifted by (-s, -t), added, have the coefficients
 * `2 c cos(2 pi (s u / out + t v / in))`.
 */
export const shift: SpectralProperty = spectralProperty({
  name: "shift",
  states: "dW[p + s, q + t] + dW[p - s, q - t] is dW of 2 c cos(2 pi (s u / out + t v / in))",
  more: ({ shape }) => fc.record({ s: fc.nat(shape.out - 1), t: fc.nat(shape.in - 1) }),
  compare: async (build, { spectrum, shape, more: { s, t } }) => {
    const { u, v, coefficients } = spectrum;
    const turned = {
      ...spectrum,
      coefficients: coefficients.map((c, l) =>
        2 * c * Math.cos(2 * Math.PI * (s * u[l] % shape.out / shape.out + t * v[l] % shape.in / shape.in))
      ),
    };
    const delta = await build(spectrum, shape);
    const back = rolled(delta, shape, [-s, -t]);
    return {
      found: await build(turned, shape),
      expected: rolled(delta, shape, [s, t]).map((value, i) => value + back[i]),
      columns: shape.in,
      size: 2 * deltaNormBound(spectrum, shape) + deltaNormBound(turned, shape),
    };
  },
});

/** dW of one coefficient is a cosine wave. */
export const cosineWave: SpectralProperty = spectralProperty({
  name: "cosineWave",
  states: "dW of one coefficient is scaling / (out * in) * c * cos(2 pi (p u / out + q v / in))",
  maxFrequencies: 1,
  more: nothing,
  compare: async (build, { spectrum, shape }) => {
    const { out, in: inFeatures } = shape;
    const { coefficients: [c], u: [u], v: [v] } = spectrum;
    const height = spectrum.scaling / (out * inFeatures) * c;
    return {
      found: await build(spectrum, shape),
      expected: Float64Array.from({ length: out * inFeatures }, (_, i) => {
        const [p, q] = [Math.floor(i / inFeatures), i % inFeatures];
        return height * Math.cos(2 * Math.PI * (p * u % out / out + q * v % inFeatures / inFeatures));
      }),
      columns: inFeatures,
      size: deltaNormBound(spectrum, shape),
    };
  },
});

/** With u and v exchanged, dW is transposed. */
export const transposition: SpectralProperty = spectralProperty({
  name: "transposition",
  states: "dW (in, out) of v and u is the transpose of dW (out, in) of u and v",
  more: nothing,
  compare: async (build, { spectrum, shape }) => {
    const { out, in: inFeatures } = shape;
    const turned = await build(
      { ...spectrum, u: spectrum.v, v: spectrum.u, seed: undefined },
      { out: inFeatures, in: out },
    );
    const delta = await build(spectrum, shape);
    return {
      found: turned,
      expected: turned.map((_, i) => delta[i % out * inFeatures + Math.floor(i / out)]),
      columns: out,
      size: 2 * deltaNormBound(spectrum, shape),
    };
  },
});

/** The real part cannot tell a frequency from its mirror: dW of (-u, -v) is dW of (u, v). */
export const mirror: SpectralProperty = spectralProperty({
  name: "mirror",
  states: "dW of (-u, -v) is dW of (u, v)",
  more: nothing,
  compare: async (build, { spectrum, shape }) => ({
    found: await build({
      ...spectrum,
      u: spectrum.u.map((u) => modulo(-u, shape.out)),
      v: spectrum.v.map((v) => modulo(-v, shape.in)),
      seed: undefined,
    }, shape),
    expected: await build(spectrum, shape),
    columns: shape.in,
    size: 2 * deltaNormBound(spectrum, shape),
  }),
});

/** The order of the coefficients does not matter, as long as their frequencies go with them. */
export const order: SpectralProperty = spectralProperty({
  name: "order",
  states: "dW is the same in any order of its coefficients",
  more: ({ spectrum: { coefficients: { length } } }) =>
    fc.record({
      order: fc.shuffledSubarray(Array.from({ length }, (_, l) => l), {
        minLength: length,
        maxLength: length,
      }),
    }),
  compare: async (build, { spectrum, shape, more: { order } }) => ({
    found: await build({
      ...spectrum,
      coefficients: Float32Array.from(order, (l) => spectrum.coefficients[l]),
      u: Uint32Array.from(order, (l) => spectrum.u[l]),
      v: Uint32Array.from(order, (l) => spectrum.v[l]),
      seed: undefined,
    }, shape),
    expected: await build(spectrum, shape),
    columns: shape.in,
    size: 2 * deltaNormBound(spectrum, shape),
  }),
});

/** Properties that leave the frequencies as they are: they hold for implementations that draw them from a seed, too. */
export const drawnProperties = {
  reference,
  zero,
  linearity,
  scaling,
  symmetry,
  parseval,
  roundTrip,
  shift,
  cosineWave,
} as const satisfies Readonly<Record<string, SpectralProperty>>;

/** Every property by its name, for implementations that take any frequencies. */
export const spectralProperties = {
  ...drawnProperties,
  transposition,
  mirror,
  order,
} as const satisfies Readonly<Record<string, SpectralProperty>>;

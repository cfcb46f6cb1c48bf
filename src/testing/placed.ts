/**
 * Properties of spectral reconstruction that move frequencies: for implementations that take any.
 *
 * @module
 */
import fc from "fast-check";
import { nothing, type SpectralProperty, spectralProperty } from "./compare.ts";
import { deltaNormBound, modulo } from "./spectrum.ts";

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

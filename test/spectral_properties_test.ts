/**
 * The properties of spectral reconstruction hold for the reference, and each is broken by implementations that are wrong.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { narrow, widen } from "../kernels/half.ts";
import type { LinearShape } from "../mod.ts";
import {
  deltaNormBound,
  drawnProperties,
  linearity,
  referenceDelta,
  shapes,
  type SparseSpectrum,
  spectralCases,
  spectralProperties,
  SpectralPropertyError,
  type SpectralReconstruction,
} from "../src/testing/mod.ts";

/** dW by its definition, term by term; `wave` is what a frequency adds, at the phase (p u / out, q v / in). */
function summed(
  { coefficients, u, v, scaling }: SparseSpectrum,
  { out, in: inFeatures }: LinearShape,
  wave = (a: number, b: number): number => Math.cos(2 * Math.PI * (a + b)),
): Float64Array {
  return Float64Array.from({ length: out * inFeatures }, (_, i) => {
    const [p, q] = [Math.floor(i / inFeatures), i % inFeatures];
    const sum = coefficients.reduce((so, c, l) => so + c * wave(p * u[l] / out, q * v[l] / inFeatures), 0);
    return scaling / (out * inFeatures) * sum;
  });
}

const float16 = (value: number): number => widen(narrow(Float32Array.of(value), "float16"), "float16")[0];

/** |IDFT2(F)| in place of its real part. */
function magnitude(spectrum: SparseSpectrum, shape: LinearShape): Float64Array {
  const re = summed(spectrum, shape);
  const im = summed(spectrum, shape, (a, b) => Math.sin(2 * Math.PI * (a + b)));
  return re.map((value, i) => Math.sign(spectrum.scaling) * Math.hypot(value, im[i]));
}

/** Every partial sum rounded to float16. */
function inFloat16(
  { coefficients, u, v, scaling }: SparseSpectrum,
  { out, in: inFeatures }: LinearShape,
): Float64Array {
  return Float64Array.from({ length: out * inFeatures }, (_, i) => {
    const [p, q] = [Math.floor(i / inFeatures), i % inFeatures];
    const sum = coefficients.reduce(
      (so, c, l) => float16(so + c * Math.cos(2 * Math.PI * (p * u[l] / out + q * v[l] / inFeatures))),
      0,
    );
    return scaling / (out * inFeatures) * sum;
  });
}

function transposed(delta: Float64Array, { out, in: inFeatures }: LinearShape): Float64Array {
  return delta.map((_, i) => delta[i % out * inFeatures + Math.floor(i / out)]);
}

const moved = (values: Uint32Array, by: number, length: number): Uint32Array =>
  values.map((value) => (value + by) % length);

/** Wrong implementations, and every property that each of them lacks. */
const wrong: Readonly<
  Record<string, { readonly of: SpectralReconstruction; readonly lacks: readonly string[] }>
> = {
  "one axis conjugated": {
    of: (spectrum, shape) => summed(spectrum, shape, (a, b) => Math.cos(2 * Math.PI * (a - b))),
    lacks: ["reference", "roundTrip", "shift", "cosineWave"], // as many waves, of the same energy
  },
  "the imaginary part": {
    of: (spectrum, shape) => summed(spectrum, shape, (a, b) => Math.sin(2 * Math.PI * (a + b))),
    lacks: ["reference", "symmetry", "parseval", "roundTrip", "cosineWave", "mirror"],
  },
  "the magnitude": {
    of: magnitude,
    lacks: ["reference", "linearity", "parseval", "roundTrip", "shift", "cosineWave"],
  },
  "transposed in memory": {
    of: (spectrum, shape) => transposed(summed(spectrum, shape), shape),
    lacks: ["reference", "symmetry", "roundTrip", "shift", "cosineWave", "transposition"],
  },
  "without 1 / (out * in)": {
    of: (spectrum, shape) => summed(spectrum, shape).map((value) => value * shape.out * shape.in),
    lacks: ["reference", "parseval", "roundTrip", "cosineWave"],
  },
  "without scaling": {
    of: (spectrum, shape) => summed({ ...spectrum, scaling: 1 }, shape),
    lacks: ["reference", "scaling", "parseval", "roundTrip", "cosineWave"],
  },
  "each axis scaled by its square root": {
    of: (spectrum, shape) => summed(spectrum, shape).map((value) => value * Math.sqrt(shape.out * shape.in)),
    lacks: ["reference", "parseval", "roundTrip", "cosineWave"],
  },
  "frequencies off by one": {
    of: (spectrum, shape) => summed({ ...spectrum, v: moved(spectrum.v, 1, shape.in) }, shape),
    lacks: ["reference", "parseval", "roundTrip", "shift", "cosineWave", "transposition", "mirror"],
  },
  "half a spectrum, without the mirrors": {
    of: (spectrum, shape) =>
      summed({
        ...spectrum,
        coefficients: spectrum.coefficients.map((c, l) => 2 * spectrum.v[l] > shape.in ? 0 : c),
      }, shape),
    lacks: ["reference", "parseval", "roundTrip", "cosineWave", "transposition", "mirror"],
  },
  "coefficients in order of their frequencies": {
    of: (spectrum, shape) => summed({ ...spectrum, u: spectrum.u.toSorted() }, shape),
    lacks: ["reference", "parseval", "roundTrip", "shift", "transposition", "mirror", "order"],
  },
  "one coefficient left out": {
    of: (spectrum, shape) =>
      summed({ ...spectrum, coefficients: spectrum.coefficients.map((c, l) => l > 0 ? c : 0) }, shape),
    lacks: ["reference", "parseval", "roundTrip", "cosineWave", "order"],
  },
  "sums in float16": {
    of: inFloat16,
    lacks: ["reference", "linearity", "parseval", "roundTrip", "shift", "cosineWave", "order"],
  },
  "coefficients in bfloat16": {
    of: (spectrum, shape) =>
      summed(
        { ...spectrum, coefficients: widen(narrow(spectrum.coefficients, "bfloat16"), "bfloat16") },
        shape,
      ),
    lacks: ["reference", "linearity", "parseval", "roundTrip", "shift", "cosineWave"],
  },
  "a constant beside": {
    of: (spectrum, shape) => summed(spectrum, shape).map((value) => value + 1e-3),
    lacks: ["reference", "zero", "linearity", "scaling", "parseval", "roundTrip", "shift", "cosineWave"],
  },
  "NaN at one place": {
    of: (spectrum, shape) => summed(spectrum, shape).with(-1, NaN),
    lacks: Object.keys(spectralProperties),
  },
  "one element too few": {
    of: (spectrum, shape) => summed(spectrum, shape).subarray(1),
    lacks: Object.keys(spectralProperties),
  },
};

/** Small, and the same cases each time: which properties break is a fact then. */
const options = { shapes: shapes({ longest: 12 }), maxFrequencies: 12, numRuns: 60, seed: 1 };

async function lackedBy(implementation: SpectralReconstruction): Promise<string[]> {
  const lacked: string[] = [];
  for (const [name, property] of Object.entries(spectralProperties)) {
    try {
      await property(implementation, options);
    } catch (error) {
      assert.ok(error instanceof SpectralPropertyError, `${error}`);
      assert.equal(error.property, name);
      lacked.push(name);
    }
  }
  return lacked;
}

for (const [name, { of, lacks }] of Object.entries(wrong)) {
  test(`spectralProperties catch an implementation that is wrong: ${name}`, async () => {
    assert.deepEqual((await lackedBy(of)).sort(), [...lacks].sort());
  });
}

test("spectralProperties each catch an implementation that is wrong", () => {
  const caught = new Set(Object.values(wrong).slice(0, -2).flatMap(({ lacks }) => lacks));
  assert.deepEqual([...caught].sort(), Object.keys(spectralProperties).sort());
});

test("spectralProperties hold for the definition, its conjugate and the reference", async () => {
  assert.deepEqual(await lackedBy(summed), []);
  const conjugate: SpectralReconstruction = (spectrum, shape) =>
    summed(spectrum, shape, (a, b) => Math.cos(-2 * Math.PI * (a + b)));
  assert.deepEqual(await lackedBy(conjugate), []);
  for (const [name, property] of Object.entries(spectralProperties)) {
    await property(referenceDelta, { shapes: shapes({ longest: 40 }), seed: 2, tolerance: 2e-7 }).catch((
      error,
    ) => assert.fail(`${name}: ${error}`));
  }
});

test("referenceDelta is the definition's sum within float64's rounding, and within deltaNormBound", () => {
  fc.assert(
    fc.property(spectralCases({ shapes: shapes({ longest: 24 }) }), ({ spectrum, shape }) => {
      const found = referenceDelta(spectrum, shape), expected = summed(spectrum, shape);
      const bound = deltaNormBound(spectrum, shape);
      assert.ok(Math.hypot(...found.map((value, i) => value - expected[i])) <= 1e-12 * bound);
      assert.ok(Math.hypot(...found) <= bound * (1 + 1e-12));
    }),
  );
});

test("drawnProperties give implementations the seed, with the frequencies that it draws", async () => {
  for (const property of Object.values(drawnProperties)) {
    let cases = 0;
    await property((spectrum, shape) => {
      cases++;
      assert.equal(typeof spectrum.seed, "number");
      return referenceDelta(spectrum, shape);
    }, { drawn: true, shapes: shapes({ longest: 9 }), numRuns: 20, seed: 3 });
    assert.ok(cases >= 20);
  }
});

test("a property that is broken tells the smallest case, where it differs, and how to see it again", async () => {
  const twice: SpectralReconstruction = (spectrum, shape) =>
    summed(spectrum, shape).map((value) => value * (1 + Math.abs(spectrum.coefficients[0])));
  const error = await linearity(twice, options).then(
    () => assert.fail("it holds"),
    (error: unknown) => error,
  );
  assert.ok(error instanceof SpectralPropertyError);
  assert.equal(error.property, "linearity");
  assert.deepEqual(error.counterexample.shape, { out: 1, in: 1 });
  assert.match(error.message, /^Property "linearity" does not hold: dW\(a c \+ d\) = a dW\(c\) \+ dW\(d\)\n/);
  assert.match(
    error.message,
    /\n {2}dW \(1, 1\) of n = 1: \S+ at \(0, 0\); scaling 1\n {2}a = \S+\n {2}d = \[\S+\]\n/,
  );
  assert.match(
    error.message,
    /\n {2}at \[0, 0\] it is \S+, not \S+; the whole is off by \S+, allowed are \S+\n/,
  );
  const [, seed, path] = /to see it again: \{ seed: (-?\d+), path: "([\d:]+)" \}$/.exec(error.message)!;
  const again = await linearity(twice, { ...options, seed: Number(seed), path, numRuns: 1 }).catch((e) => e);
  assert.deepEqual(again.counterexample, error.counterexample);
});

test("a property tells what an implementation throws", async () => {
  const error = await linearity(() => {
    throw new RangeError("too long");
  }, options).catch((error) => error);
  assert.match(error.message, /\n {2}it throws RangeError: too long\n/);
});

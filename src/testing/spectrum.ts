/**
 * A sparse spectrum, what reconstructs dW from it, and the reference in float64, which shares no code with the kernels.
 *
 * @module
 */
import type { LinearShape } from "../adapters/method.ts";

/** n real coefficients at different frequencies of an (out, in) matrix. */
export interface SparseSpectrum {
  /** (n), c_l. */
  readonly coefficients: Float32Array;
  /** (n), u_l in [0, out). */
  readonly u: Uint32Array;
  /** (n), v_l in [0, in). */
  readonly v: Uint32Array;
  /** PEFT's `scaling`. */
  readonly scaling: number;
  /** PEFT's `random_loc_seed`, where `u` and `v` are those that it draws for the shape. */
  readonly seed?: number;
}

/**
 * An implementation of spectral reconstruction: the dW (out, in) of a spectrum, row-major, with PEFT's conventions,
 *
 *     dW[p, q] = scaling / (out * in) * SUM_l c_l cos(2 pi (p u_l / out + q v_l / in)),
 *
 * which is `torch.fft.ifft2(dense).real * scaling`.
 */
export type SpectralReconstruction = (
  spectrum: SparseSpectrum,
  shape: LinearShape,
) => ArrayLike<number> | Promise<ArrayLike<number>>;

/** Cosine and sine of 2 pi k / length. */
function circle(length: number): { readonly cos: Float64Array; readonly sin: Float64Array } {
  const angles = Float64Array.from({ length }, (_, k) => 2 * Math.PI * k / length);
  return { cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
}

/** dW in float64: scaling * Re(IDFT2(F)), summed over u first, then over v. Frequencies are multiplied as integers. */
export function referenceDelta(spectrum: SparseSpectrum, shape: LinearShape): Float64Array {
  const { coefficients, u, v, scaling } = spectrum;
  const { out, in: inFeatures } = shape;
  const rows = circle(out), columns = circle(inFeatures);
  const re = new Float64Array(out * inFeatures), im = new Float64Array(out * inFeatures);
  coefficients.forEach((c, l) => {
    for (let p = 0; p < out; p++) {
      const turn = p * u[l] % out;
      re[p * inFeatures + v[l]] += c * rows.cos[turn];
      im[p * inFeatures + v[l]] += c * rows.sin[turn];
    }
  });
  const used = [...new Set(v)];
  const delta = new Float64Array(out * inFeatures);
  for (let p = 0; p < out; p++) {
    for (let q = 0; q < inFeatures; q++) {
      let sum = 0;
      for (const bin of used) {
        const turn = q * bin % inFeatures;
        sum += re[p * inFeatures + bin] * columns.cos[turn] - im[p * inFeatures + bin] * columns.sin[turn];
      }
      delta[p * inFeatures + q] = scaling / (out * inFeatures) * sum;
    }
  }
  return delta;
}

/** The Frobenius norm of an array of any shape. */
export function frobenius(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] ** 2;
  return Math.sqrt(sum);
}

/**
 * |scaling| * |c| / sqrt(out * in): no dW of a spectrum has a greater Frobenius norm (Parseval). Errors are told in parts of
 * it, since dW itself may vanish where coefficients cancel.
 */
export function deltaNormBound({ coefficients, scaling }: SparseSpectrum, shape: LinearShape): number {
  return Math.abs(scaling) * frobenius(coefficients) / Math.sqrt(shape.out * shape.in);
}

/**
 * Coefficients of dW by its own forward DFT: scaling * (F[u, v] + F[-u, -v]) / 2 at each of the spectrum's frequencies. The
 * real part of an inverse DFT keeps that half of F and no more.
 */
export function keptCoefficients(spectrum: SparseSpectrum, shape: LinearShape): Float64Array {
  const { coefficients, u, v, scaling } = spectrum;
  const { out, in: inFeatures } = shape;
  const at = new Map(Array.from(coefficients, (c, l) => [u[l] * inFeatures + v[l], c]));
  const mirrored = (l: number): number =>
    at.get((out - u[l]) % out * inFeatures + (inFeatures - v[l]) % inFeatures) ?? 0;
  return Float64Array.from(coefficients, (c, l) => scaling * (c + mirrored(l)) / 2);
}

/** Re(DFT2(dW)) at each of a spectrum's frequencies: summed over q first, then over p. */
export function forwardAt(
  delta: ArrayLike<number>,
  { u, v }: Pick<SparseSpectrum, "u" | "v">,
  { out, in: inFeatures }: LinearShape,
): Float64Array {
  const rows = circle(out), columns = circle(inFeatures);
  const ofBin = new Map<number, { readonly re: Float64Array; readonly im: Float64Array }>();
  for (const bin of new Set(v)) {
    const re = new Float64Array(out), im = new Float64Array(out);
    for (let i = 0; i < delta.length; i++) {
      const p = Math.floor(i / inFeatures), turn = i % inFeatures * bin % inFeatures;
      re[p] += delta[i] * columns.cos[turn];
      im[p] -= delta[i] * columns.sin[turn];
    }
    ofBin.set(bin, { re, im });
  }
  return Float64Array.from(u, (bin, l) => {
    const { re, im } = ofBin.get(v[l])!;
    let sum = 0;
    for (let p = 0; p < out; p++) {
      const turn = p * bin % out;
      sum += re[p] * rows.cos[turn] + im[p] * rows.sin[turn];
    }
    return sum;
  });
}

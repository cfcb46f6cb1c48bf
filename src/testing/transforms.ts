/**
 * dW of C3A and WaveFT in float64, by PEFT's own steps: references that share no code with the kernels.
 *
 * @module
 */
import { elementWavelet, type Wavelet } from "../../kernels/wavelet/filters.ts";
import type { LinearShape } from "../adapters/method.ts";
import type { SparseSpectrum } from "./spectrum.ts";

/** Kernels (out / block, in / block, block) of a block-circulant matrix, row-major. */
export interface CirculantKernels {
  readonly kernels: ArrayLike<number>;
  /** PEFT's `block_size`, which divides both sides. */
  readonly block: number;
}

/** dW (out, in) of C3A, row-major: element [j, i] of block (m, n) is w[m, n, (i - j) mod block] / in. */
export function circulantDelta({ kernels, block }: CirculantKernels, shape: LinearShape): Float64Array {
  const { out, in: inSize } = shape;
  return Float64Array.from({ length: out * inSize }, (_, at) => {
    const p = Math.floor(at / inSize), q = at % inSize;
    const [m, j, n, i] = [Math.floor(p / block), p % block, Math.floor(q / block), q % block];
    return kernels[(m * (inSize / block) + n) * block + (i - j + block) % block] / inSize;
  });
}

/** A quarter of coefficients by its own filters: zeros between its rows and columns, filtered, and cut at both ends. */
function addQuarter(
  sums: Float64Array,
  quarter: {
    readonly at: (row: number, column: number) => number;
    readonly rows: number;
    readonly columns: number;
  },
  { down, right, columns }: {
    /** The filter along rows, and the filter along columns. */
    readonly down: readonly number[];
    readonly right: readonly number[];
    readonly columns: number;
  },
): void {
  const cut = down.length - 2;
  const rows = sums.length / columns;
  for (let r = 0; r < quarter.rows; r++) {
    for (let c = 0; c < quarter.columns; c++) {
      const value = quarter.at(r, c);
      if (value === 0) continue;
      down.forEach((tap, i) => {
        const p = 2 * r + i - cut;
        if (p < 0 || p >= rows) return;
        right.forEach((other, j) => {
          const q = 2 * c + j - cut;
          if (q >= 0 && q < columns) sums[p * columns + q] += value * tap * other;
        });
      });
    }
  }
}

/**
 * dW (out, in) of WaveFT, row-major. The spectrum stands in the middle of a padded matrix, whose quarters are one level of a
 * wavelet; dW is the middle of the result. `elementWavelet` is PEFT's `use_idwt` = false.
 */
export function waveletDelta(spectrum: SparseSpectrum, shape: LinearShape, wavelet: Wavelet): Float64Array {
  const { coefficients, u, v, scaling } = spectrum, { out, in: inSize } = shape, { low, high } = wavelet;
  const delta = new Float64Array(out * inSize);
  if (wavelet === elementWavelet) {
    coefficients.forEach((c, l) => delta[u[l] * inSize + v[l]] = scaling * c);
    return delta;
  }
  const even = (length: number): number => 2 * Math.ceil(length / 2);
  const reduction = low.length - 2, rows = even(out + reduction), columns = even(inSize + reduction);
  const dense = new Float64Array(rows * columns);
  const [top, left] = [Math.floor((rows - out) / 2), Math.floor((columns - inSize) / 2)];
  coefficients.forEach((c, l) => dense[(u[l] + top) * columns + v[l] + left] = c);
  const whole = { rows: rows - reduction, columns: columns - reduction };
  const sums = new Float64Array(whole.rows * whole.columns);
  const [h, w] = [rows / 2, columns / 2];
  const from = (row: number, column: number) => ({
    at: (r: number, c: number) => dense[(row + r) * columns + column + c],
    rows: h,
    columns: w,
  });
  addQuarter(sums, from(0, 0), { down: low, right: low, columns: whole.columns });
  addQuarter(sums, from(0, w), { down: high, right: low, columns: whole.columns });
  addQuarter(sums, from(h, 0), { down: low, right: high, columns: whole.columns });
  addQuarter(sums, from(h, w), { down: high, right: high, columns: whole.columns });
  const [first, begin] = [Math.floor((whole.rows - out) / 2), Math.floor((whole.columns - inSize) / 2)];
  return delta.map((_, at) => {
    const p = Math.floor(at / inSize) + first, q = at % inSize + begin;
    return scaling * sums[p * whole.columns + q];
  });
}

/**
 * What `circulant_linear` computes, as a specification and at a CPU's speed.
 *
 * @module
 */
import { type BankBuffer, type BankWords, forEachAdapted } from "../bank_rows.ts";
import { realTransform } from "../fft/cpu.ts";
import type { Arrays, TypedArray } from "../kernel.ts";
import { type Blocks, blocksOf, blockStart } from "./blocks.ts";

/** A block's elements from a half spectrum's numbers: w[d] = SUM_g Re(W[g] e^{-2 pi i g d / size}), all bins. */
function kernelOf(values: TypedArray, at: number, { size, half }: Blocks): Float64Array {
  return Float64Array.from({ length: size }, (_, d) => {
    let sum = values[at] + (d % 2 === 0 ? 1 : -1) * values[at + 1];
    for (let g = 1; g < half; g++) {
      const angle = 2 * Math.PI * (g * d % size) / size;
      sum += 2 * (values[at + 2 * g] * Math.cos(angle) + values[at + 2 * g + 1] * Math.sin(angle));
    }
    return sum;
  });
}

/** The definition: each block's elements from its spectrum, then the product by sums; all in float64. */
export function referenceCirculant(arrays: Arrays<BankBuffer>, words: BankWords): void {
  const { x, values, y } = arrays, { in: inSize } = words;
  forEachAdapted(arrays, words, ({ row, out, at, count, values: first, scale }) => {
    const blocks = blocksOf(count), { size, stride, half } = blocks, rows = out / size;
    const sums = new Float64Array(out);
    for (let n = 0; n < inSize / size; n++) {
      for (let m = 0; m < rows; m++) {
        const w = kernelOf(values, first + (n * rows + m) * 2 * half, blocks);
        const from = row * inSize + blockStart(n, blocks), to = blockStart(m, blocks);
        for (let j = 0; j < size; j++) {
          for (let i = 0; i < size; i++) {
            sums[to + j * stride] += w[(i - j + size) % size] * x[from + i * stride];
          }
        }
      }
    }
    sums.forEach((sum, i) => y[at + i] += scale * sum);
  });
}

/** Conjugate spectra of a row's blocks, packed: (in / size, half, 2). */
function rowSpectra(
  x: Float32Array,
  row: number,
  { size, stride, half, in: inSize }: Blocks & { in: number },
): Float64Array {
  const transform = realTransform(size), block = new Float32Array(size);
  const spectra = new Float64Array(inSize / size * half * 2), { re, im } = transform.analysed;
  for (let n = 0, at = 0; n < inSize / size; n++, at += 2 * half) {
    const from = row * inSize + blockStart(n, { size, stride, half });
    for (let i = 0; i < size; i++) block[i] = x[from + i * stride];
    transform.analyse(block, 0);
    spectra[at] = re[0];
    if (size % 2 === 0) spectra[at + 1] = re[half];
    for (let g = 1; g < half; g++) {
      spectra[at + 2 * g] = re[g];
      spectra[at + 2 * g + 1] = -im[g];
    }
  }
  return spectra;
}

/** sums += a row of blocks of spectra times one block's: the pairs (even, odd) of `from` times those of `values`. */
function addProducts(
  sums: Float64Array,
  { from, fromAt, values, at }: {
    readonly from: Float64Array;
    readonly fromAt: number;
    readonly values: Float32Array;
    readonly at: number;
  },
): void {
  sums[0] += from[fromAt] * values[at];
  sums[1] += from[fromAt + 1] * values[at + 1];
  for (let k = 2; k < sums.length; k += 2) {
    const re = from[fromAt + k], im = from[fromAt + k + 1], wr = values[at + k], wi = values[at + k + 1];
    sums[k] += re * wr - im * wi;
    sums[k + 1] += re * wi + im * wr;
  }
}

/** The same by transforms. */
export function cpuCirculant(arrays: Arrays<BankBuffer>, words: BankWords): void {
  const x = arrays.x as Float32Array, values = arrays.values as Float32Array, y = arrays.y as Float32Array;
  let known: { row: number; size: number; stride: number; spectra: Float64Array } | undefined;
  forEachAdapted(arrays, words, ({ row, out, at, count, values: first, scale }) => {
    const blocks = blocksOf(count),
      { size, stride, half } = blocks,
      rows = out / size,
      columns = words.in / size;
    if (known?.row !== row || known.size !== size || known.stride !== stride) {
      known = { row, size, stride, spectra: rowSpectra(x, row, { ...blocks, in: words.in }) };
    }
    const transform = realTransform(size), { re, im } = transform.bins;
    const sums = new Float64Array(2 * half), result = new Float32Array(size);
    for (let m = 0; m < rows; m++) {
      sums.fill(0);
      for (let n = 0; n < columns; n++) {
        const places = {
          from: known.spectra,
          fromAt: n * 2 * half,
          values,
          at: first + (n * rows + m) * 2 * half,
        };
        addProducts(sums, places);
      }
      re[0] = sums[0];
      im[0] = 0;
      if (size % 2 === 0) {
        re[half] = sums[1];
        im[half] = 0;
      }
      for (let g = 1; g < half; g++) {
        re[g] = 2 * sums[2 * g];
        im[g] = 2 * sums[2 * g + 1];
      }
      result.fill(0);
      transform.synthesise(result, 0, scale);
      const to = at + blockStart(m, blocks);
      for (let j = 0; j < size; j++) y[to + j * stride] += result[j];
    }
  });
}

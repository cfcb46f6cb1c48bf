/**
 * `circulant_gradient`: the gradient of a block-circulant matrix's kernels, without a dense weight gradient.
 *
 * dw[m, n, d] = scale SUM_t SUM_j dy_m[j] x_n[j + d]: products of the spectra of each row's blocks, summed over rows. Parts
 * of the rows are summed apart and then in a fixed order, so equal calls give equal bits.
 *
 * @module
 */
import { blocksOf, blockStart, checkBlocks, kernelPlace, longestBlock } from "./circulant/blocks.ts";
import {
  gradientLaunch,
  gradientUniforms as uniforms,
  type GradientWords as Words,
} from "./circulant/gradient.ts";
import { realTransform } from "./fft/cpu.ts";
import { type Arrays, defineKernel, type Kernel } from "./kernel.ts";

type Buffers = "x" | "dy" | "tables" | "gradient";
type Uniforms = keyof Words;

function reference({ x, dy, gradient }: Arrays<Buffers>, words: Words): void {
  const { rows, out, in: inSize, block, offset } = words, scale = Math.fround(words.scale);
  for (let m = 0; m < out / block; m++) {
    for (let n = 0; n < inSize / block; n++) {
      for (let d = 0; d < block; d++) {
        let sum = 0;
        for (let row = 0; row < rows; row++) {
          const to = row * out + m * block, from = row * inSize + n * block;
          for (let j = 0; j < block; j++) sum += dy[to + j] * x[from + (j + d) % block];
        }
        gradient[offset + (m * (inSize / block) + n) * block + d] += scale * sum;
      }
    }
  }
}

/** By transforms, summed over rows in float64. */
function cpu(arrays: Arrays<Buffers>, words: Words): void {
  const { rows, out, in: inSize, block, offset, scale } = words;
  const blocks = blocksOf(block), { size, stride } = blocks, bins = Math.floor(size / 2) + 1;
  const transform = realTransform(size), one = new Float32Array(size);
  const ys = out / size, xs = inSize / size;
  /** Real parts of all blocks' bins, then imaginary ones. */
  const spectraOf = (signal: Float32Array, at: number, count: number, into: Float64Array): void => {
    for (let n = 0; n < count; n++) {
      const from = at + blockStart(n, blocks);
      for (let i = 0; i < size; i++) one[i] = signal[from + i * stride];
      transform.analyse(one, 0);
      for (let k = 0; k < bins; k++) {
        into[n * bins + k] = transform.analysed.re[k];
        into[(count + n) * bins + k] = transform.analysed.im[k];
      }
    }
  };
  const xOf = new Float64Array(2 * xs * bins), dyOf = new Float64Array(2 * ys * bins);
  const re = new Float64Array(ys * xs * bins), im = new Float64Array(ys * xs * bins);
  for (let row = 0; row < rows; row++) {
    spectraOf(arrays.x as Float32Array, row * inSize, xs, xOf);
    spectraOf(arrays.dy as Float32Array, row * out, ys, dyOf);
    for (let m = 0, at = 0; m < ys; m++) {
      for (let n = 0; n < xs; n++) {
        for (let k = 0; k < bins; k++, at++) {
          const xr = xOf[n * bins + k], xi = xOf[(xs + n) * bins + k];
          const yr = dyOf[m * bins + k], yi = dyOf[(ys + m) * bins + k];
          re[at] += xr * yr + xi * yi;
          im[at] += xr * yi - xi * yr;
        }
      }
    }
  }
  for (let m = 0; m < ys; m++) {
    for (let n = 0; n < xs; n++) {
      const at = (m * xs + n) * bins;
      for (let k = 0; k < bins; k++) {
        const twice = k > 0 && 2 * k < size ? 2 : 1;
        transform.bins.re[k] = twice * re[at + k];
        transform.bins.im[k] = twice * im[at + k];
      }
      one.fill(0);
      transform.synthesise(one, 0, Math.fround(scale) / size);
      for (let d = 0; d < size; d++) {
        arrays.gradient[offset + kernelPlace({ m, n, d }, blocks, inSize / block)] += one[d];
      }
    }
  }
}

/** See the module's documentation. */
export const circulantGradient: Kernel<Buffers, Uniforms> = defineKernel({
  name: "circulant_gradient",
  doc:
    "gradient[offset + ...] (out / b, in / b, b) += scale SUM_rows SUM_j dy[m, j] x[n, j + d] of one adapter's kernels, for " +
    `x (rows, in) and dy (rows, out) in blocks of b; blocks longer than ${longestBlock} are split exactly`,
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, out), row-major" },
    tables: { access: "read", dtypes: ["uint32"], doc: "the table of `circulantTable` with block size b" },
    gradient: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "from element `offset` on: (out / b, in / b, b), added to",
    },
  },
  uniforms,
  launch({ uniforms: words }, limits) {
    return gradientLaunch(words, checkBlocks(words), limits);
  },
  reference,
  cpu,
  tolerance: 1e-6,
});

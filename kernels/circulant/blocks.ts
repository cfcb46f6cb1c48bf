/**
 * A block-circulant matrix as its kernels have it: blocks that a workgroup can transform, their spectra, and a table.
 *
 * Block (m, n) of a matrix (out, in) has element [j, i] = w[m, n, (i - j) mod b], so that a product is a correlation:
 * y[j] = SUM_d w[d] x[j + d], and b times it is the transform of conj(X) W.
 *
 * A block of b = s * size is s * s circulant blocks of `size` once rows and columns are taken s apart. So blocks that are
 * too long for a workgroup are split, exactly.
 *
 * @module
 */
import { realTransform } from "../fft/cpu.ts";
import { bitsOf } from "../record.ts";

/** The longest block that a workgroup transforms. */
export const longestBlock = 1024;
/** The longest block there is. */
const longest = 2 ** 20;
/** Pairs of spectrum bins that a workgroup has room for: two for each invocation. */
export const mostSlots = 512;

/** Sizes of a matrix and of its blocks. */
export interface CirculantShape {
  readonly out: number;
  readonly in: number;
  /** PEFT's `block_size`: it divides both. */
  readonly block: number;
}

/** How a block is split, and how its spectrum lies. */
export interface Blocks {
  /** Elements of a block as it is transformed: at most {@linkcode longestBlock}. */
  readonly size: number;
  /** Distance of a block's elements, and how many blocks lie between each other. */
  readonly stride: number;
  /** Complex numbers of a spectrum: of an even size, bin 0 and the middle one are real, and share the first. */
  readonly half: number;
}

/** The blocks of a `block_size`: whole where they are short enough, else of the longest divisor that is. */
export function blocksOf(block: number): Blocks {
  if (!Number.isSafeInteger(block) || block < 1 || block > longest) {
    throw new RangeError(`Cannot use block size ${block}: it must be a whole number from 1 to ${longest}`);
  }
  let stride = Math.ceil(block / longestBlock);
  while (block % stride !== 0) stride++;
  const size = block / stride;
  return { size, stride, half: Math.ceil(size / 2) };
}

/**
 * Throws where a block size does not divide a matrix.
 *
 * @throws RangeError that names the sizes.
 */
export function checkBlocks({ out, in: inSize, block }: CirculantShape): Blocks {
  const blocks = blocksOf(block);
  if (out % block === 0 && inSize % block === 0) return blocks;
  throw new RangeError(
    `Cannot split a matrix (${out}, ${inSize}) into blocks of ${block}: the block size must divide both`,
  );
}

/** Radices of a transform: fours, then primes. */
function radices(size: number): number[] {
  const found: number[] = [];
  let rest = size;
  for (; rest % 4 === 0; rest /= 4) found.push(4);
  for (let p = 2; rest > 1; p++) {
    for (; rest % p === 0; rest /= p) found.push(p);
  }
  return found;
}

/** Words of a table before its radices. */
export const tableHead = 3;

/**
 * The words that all matrices of a block size share: size, stride and number of radices; the radices; then cosine and sine
 * of 2 pi k / size for k < size, as float32 bits.
 */
export function circulantTable(block: number): Uint32Array {
  const { size, stride } = blocksOf(block), factors = radices(size);
  const table = new Uint32Array(tableHead + factors.length + 2 * size);
  table.set([size, stride, factors.length, ...factors]);
  for (let k = 0; k < size; k++) {
    const angle = 2 * Math.PI * k / size, at = tableHead + factors.length + 2 * k;
    table[at] = bitsOf(Math.cos(angle));
    table[at + 1] = bitsOf(Math.sin(angle));
  }
  return table;
}

/** The first element of block n of a row, whose others lie `stride` apart. */
export const blockStart = (n: number, { size, stride }: Blocks): number =>
  Math.floor(n / stride) * size * stride + n % stride;

/** Where element d of the split block (m, n) stands among kernels (out / b, in / b, b) of a matrix `columns` blocks wide. */
export function kernelPlace(
  { m, n, d }: { readonly m: number; readonly n: number; readonly d: number },
  { size, stride }: Blocks,
  columns: number,
): number {
  const block = size * stride, whole = Math.floor(m / stride) * columns + Math.floor(n / stride);
  return whole * block + (stride * d + n % stride + block - m % stride) % block;
}

/** A half spectrum as numbers: real and imaginary parts of bins, the middle bin's real part in place of bin 0's imaginary. */
export function packSpectrum(
  { re, im }: { readonly re: ArrayLike<number>; readonly im: ArrayLike<number> },
  { size, half }: Blocks,
  { to, at, factor = 1 }: {
    readonly to: Float32Array | Float64Array;
    readonly at: number;
    readonly factor?: number;
  },
): void {
  to[at] = factor * re[0];
  to[at + 1] = size % 2 === 0 ? factor * re[half] : 0;
  for (let g = 1; g < half; g++) {
    to[at + 2 * g] = factor * re[g];
    to[at + 2 * g + 1] = factor * im[g];
  }
}

/**
 * The half spectra that `circulant_linear` reads, from PEFT's `c3a_kernel` (out / b, in / b, b): (in / size, out / size,
 * half, 2) numbers, each spectrum divided by its size.
 *
 * @throws RangeError where the block size does not divide the matrix, or there are not as many kernels.
 */
export function circulantSpectra(kernels: Float32Array, shape: CirculantShape): Float32Array {
  const blocks = checkBlocks(shape), { size, half } = blocks, { out, in: inSize, block } = shape;
  if (kernels.length !== out / block * inSize) {
    throw new RangeError(
      `Cannot make spectra of ${kernels.length} numbers: (${out}, ${inSize}) in blocks of ${block} has ${
        out / block * inSize
      }`,
    );
  }
  const rows = out / size, columns = inSize / size, wholeColumns = inSize / block;
  const transform = realTransform(size), kernel = new Float32Array(size);
  const spectra = new Float32Array(columns * rows * half * 2);
  for (let n = 0, at = 0; n < columns; n++) {
    for (let m = 0; m < rows; m++, at += 2 * half) {
      for (let d = 0; d < size; d++) kernel[d] = kernels[kernelPlace({ m, n, d }, blocks, wholeColumns)];
      transform.analyse(kernel, 0);
      packSpectrum(transform.analysed, blocks, { to: spectra, at, factor: 1 / size });
    }
  }
  return spectra;
}

/**
 * Block-diagonal rotations of x, for OFT and BOFT: matrices made in float64 from skew-symmetric ones, rounded once.
 *
 * @module
 */
import { rotateBlocks } from "../../../kernels/rotate_blocks.ts";
import { rotateInputs } from "../../../kernels/rotate_inputs.ts";
import { breathe } from "../../breathe.ts";
import { ConfigError } from "../../errors.ts";
import { type Step, step } from "../../plan.ts";
import type { BeforeAllStep, BeforeStep } from "../method.ts";

/** Rows of a block at most: the work to make a matrix grows with their cube, and nothing else can run meanwhile. */
const mostRows = 256;
/** Cubes of rows between turns for other work. */
const mostAtOnce = 2 ** 21;

/** A square matrix, row-major. */
export interface Square {
  readonly size: number;
  readonly data: Float64Array;
}

/** Throws ConfigError where blocks of a tensor are larger than matrices are made for. */
export function checkBlock(name: string, size: number): void {
  if (size <= mostRows) return;
  throw new ConfigError(
    `Cannot read adapter tensor "${name}": its blocks have ${size} rows, at most ${mostRows} are accepted`,
  );
}

function identity(size: number): Float64Array {
  const data = new Float64Array(size * size);
  for (let i = 0; i < size; i++) data[i * size + i] = 1;
  return data;
}

function product(a: Float64Array, b: Float64Array, size: number): Float64Array {
  const result = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    const row = result.subarray(i * size, (i + 1) * size);
    for (let k = 0; k < size; k++) {
      const factor = a[i * size + k];
      for (let j = 0; j < size; j++) row[j] += factor * b[k * size + j];
    }
  }
  return result;
}

function addScaled(sum: Float64Array, data: Float64Array, factor: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] += factor * data[i];
}

/** Swaps rows `a` and `b`. */
function swapRows(data: Float64Array, { a, b, size }: { a: number; b: number; size: number }): void {
  const row = data.slice(a * size, (a + 1) * size);
  data.copyWithin(a * size, b * size, (b + 1) * size);
  data.set(row, b * size);
}

/** The row, from the diagonal down, with the largest number of a column. */
function pivotRow(data: Float64Array, column: number, size: number): number {
  let best = column;
  for (let i = column + 1; i < size; i++) {
    if (Math.abs(data[i * size + column]) > Math.abs(data[best * size + column])) best = i;
  }
  return best;
}

/** Cayley's rotation of a skew-symmetric S: (I - S) (I + S)^-1. I + S is never singular: x (I + S) x^T is at least |x|^2. */
export function cayley({ size, data }: Square): Float64Array {
  // Both factors commute: R solves (I + S) R = I - S.
  const left = identity(size), right = identity(size);
  addScaled(left, data, 1);
  addScaled(right, data, -1);
  for (let column = 0; column < size; column++) {
    const swap = { a: column, b: pivotRow(left, column, size), size };
    for (const matrix of [left, right]) if (swap.a !== swap.b) swapRows(matrix, swap);
    const scale = 1 / left[column * size + column];
    const own = [left, right].map((matrix) => matrix.subarray(column * size, (column + 1) * size));
    for (const row of own) for (let j = 0; j < size; j++) row[j] *= scale;
    for (let i = 0; i < size; i++) {
      const factor = left[i * size + column];
      if (i === column || factor === 0) continue;
      addScaled(left.subarray(i * size, (i + 1) * size), own[0], -factor);
      addScaled(right.subarray(i * size, (i + 1) * size), own[1], -factor);
    }
  }
  return right;
}

/** The same by Neumann's series, as PEFT cuts it: I + 2 S + ... + 2 S^(terms - 2) + S^(terms - 1), and I + 2 S of two terms. */
export function cayleyNeumann({ size, data }: Square, terms: number): Float64Array {
  const sum = identity(size);
  if (terms < 2) return sum;
  addScaled(sum, data, 2);
  if (terms === 2) return sum;
  let power = product(data, data, size);
  addScaled(sum, power, 2);
  // Of three terms PEFT makes four.
  for (let term = 3; term < terms - 1; term++) {
    power = product(power, data, size);
    addScaled(sum, power, 2);
  }
  addScaled(sum, product(power, data, size), 1);
  return sum;
}

/**
 * The matrices of blocks, one after the other, rounded to float32. Other work has its turn between blocks.
 *
 * @param make The matrix of a block, row-major.
 * @throws ConfigError that names the tensor, where a matrix is past float32.
 */
export async function matricesOf(
  { name, blocks, size }: { readonly name: string; readonly blocks: number; readonly size: number },
  make: (block: number) => Float64Array,
): Promise<Float32Array> {
  const matrices = new Float32Array(blocks * size * size);
  let work = 0;
  for (let block = 0; block < blocks; block++) {
    const matrix = matrices.subarray(block * size * size, (block + 1) * size * size);
    matrix.set(make(block));
    const fault = matrix.findIndex((value) => !Number.isFinite(value));
    if (fault >= 0) {
      throw new ConfigError(
        `Cannot use adapter tensor "${name}": the matrix of its block ${block} comes to ${
          matrix[fault]
        } in float32`,
      );
    }
    if ((work += size ** 3) < mostAtOnce) continue;
    work = 0;
    await breathe();
  }
  return matrices;
}

/** The step that turns x's blocks in place; `skipped` numbers of a module stand before its matrices. */
export function rotateStep(
  { x, slots, records, values, rows, in: inSize, linear, capacity }: BeforeStep,
  skipped = 0,
): Step {
  return step(rotateBlocks, { slots, records, values, x }, { rows, in: inSize, linear, capacity, skipped });
}

/** The step that writes x with its blocks turned for each linear; `skipped` as of `rotateStep`, of each. */
export function rotateAllStep(
  { x, y, slots, records, values, rows, in: inSize, outs, linear, capacity }: BeforeAllStep,
  [skipped, skipped1, skipped2]: readonly number[] = [0, 0, 0],
): Step {
  return step(rotateInputs, { x, slots, records, values, y }, {
    ...{ rows, in: inSize, linear, capacity, linears: outs.filter((out) => out > 0).length },
    ...{ skipped, skipped1, skipped2 },
  });
}

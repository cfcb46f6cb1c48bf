/**
 * The singular value decomposition of a weight, in float64 on the host: A = U diag(s) V^T.
 *
 * Householder reflections make A bidiagonal, then implicit QR steps make it diagonal (Golub and Reinsch 1970). Only +, -, *, /
 * and square roots are used, which IEEE 754 rounds alike everywhere: equal weights give equal bits on every runtime.
 * Work is cut in pieces, and other work has its turn in between.
 *
 * @module
 */
import { inSlices } from "../breathe.ts";
import { type Bidiagonal, bidiagonal } from "./svd/bidiagonal.ts";
import { diagonalised } from "./svd/diagonalise.ts";

/** A = U diag(s) V^T of a matrix (out, in), with n = min(out, in). */
export interface Svd {
  readonly out: number;
  readonly in: number;
  /** (n), descending. */
  readonly s: Float64Array;
  /** (n, out): each row a column of U. */
  readonly u: Float64Array;
  /** (n, in): rows of V^T. */
  readonly v: Float64Array;
}

/** Writes a matrix (rows, columns) with its axes changed. */
export function* turn(
  into: Float32Array | Float64Array,
  a: ArrayLike<number>,
  { rows, columns }: { readonly rows: number; readonly columns: number },
): Iterable<void> {
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) into[c * rows + r] = a[r * columns + c];
    yield;
  }
}

/** Writes the rows of a matrix in another order, each times its sign. */
function* reorder(
  into: Float64Array,
  rows: Float64Array,
  { order, sign = () => 1 }: { readonly order: readonly number[]; readonly sign?: (row: number) => number },
): Iterable<void> {
  const width = rows.length / order.length;
  for (const [to, from] of order.entries()) {
    const factor = sign(from);
    for (let i = 0; i < width; i++) into[to * width + i] = factor * rows[from * width + i];
    yield;
  }
}

/**
 * The decomposition of a matrix of finite numbers. Which of two signs a pair of vectors has is not said; it is the same for
 * the same numbers.
 *
 * @param a (out, in), row-major.
 * @throws RangeError when a number is not finite, or the QR steps do not end.
 */
export async function svd(
  a: ArrayLike<number>,
  { out, in: inSize }: { readonly out: number; readonly in: number },
): Promise<Svd> {
  const isTall = out >= inSize, n = Math.min(out, inSize), m = Math.max(out, inSize);
  for (let i = 0; i < out * inSize; i++) {
    if (!Number.isFinite(a[i])) throw new RangeError(`Cannot decompose a matrix: element ${i} is ${a[i]}`);
  }
  // Columns of a tall matrix, rows of a wide one: n lines of m numbers.
  const lines = new Float64Array(n * m);
  if (isTall) await inSlices(turn(lines, a, { rows: out, columns: inSize }));
  else lines.set(a);
  const made: Bidiagonal = { m, n, lines, d: new Float64Array(n), e: new Float64Array(n) };
  const left = new Float64Array(n * m), right = new Float64Array(n * n);
  await inSlices(bidiagonal(made, { left, right }));
  await inSlices(diagonalised(made, { left, right }));
  const { d } = made;
  const order = [...d.keys()].sort((i, j) => Math.abs(d[j]) - Math.abs(d[i]) || i - j);
  const long = lines, short = new Float64Array(n * n);
  await inSlices(reorder(long, left, { order }));
  await inSlices(reorder(short, right, { order, sign: (i) => d[i] < 0 ? -1 : 1 }));
  const s = Float64Array.from(order, (i) => Math.abs(d[i]));
  return { out, in: inSize, s, ...(isTall ? { u: long, v: short } : { u: short, v: long }) };
}

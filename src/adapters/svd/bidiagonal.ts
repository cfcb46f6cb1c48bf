/**
 * A matrix made upper bidiagonal by reflections from both sides, and the product of the reflections of each side.
 *
 * @module
 */

/** A matrix of n columns of m numbers, m >= n, and its bidiagonal form. */
export interface Bidiagonal {
  readonly m: number;
  readonly n: number;
  /** (n, m): each line a column. Overwritten by the left reflections. */
  readonly lines: Float64Array;
  /** (n): the diagonal, and the numbers right of it; e[n - 1] is 0. */
  readonly d: Float64Array;
  readonly e: Float64Array;
}

/** The vectors of both sides, a line each: left (n, m) and right (n, n). */
export interface Vectors {
  readonly left: Float64Array;
  readonly right: Float64Array;
}

/**
 * Makes of x the vector w of a reflection H = I - w w^T with H x = value e_0, in place; returns the value. |w|^2 is 2, or 0
 * where x is zero.
 */
function reflection(x: Float64Array): number {
  let most = 0;
  for (const value of x) most = Math.max(most, Math.abs(value));
  if (most === 0) return 0;
  let squares = 0;
  for (const value of x) squares += (value / most) * (value / most);
  const norm = Math.sqrt(squares), sign = x[0] < 0 ? -1 : 1;
  // x / (norm most) + sign e_0 has the squared length 2 (1 + |x_0|); w has 2.
  const first = Math.abs(x[0]) / most / norm, factor = 1 / Math.sqrt(1 + first);
  for (let i = 0; i < x.length; i++) x[i] = x[i] / most / norm * factor;
  x[0] += sign * factor;
  return -sign * norm * most;
}

/** y -= (w . y) w. */
function reflect(y: Float64Array, w: Float64Array): void {
  // Four sums at once: each addition waits for the one before it.
  const fours = w.length - w.length % 4;
  let a = 0, b = 0, c = 0, d = 0;
  for (let i = 0; i < fours; i += 4) {
    a += w[i] * y[i];
    b += w[i + 1] * y[i + 1];
    c += w[i + 2] * y[i + 2];
    d += w[i + 3] * y[i + 3];
  }
  for (let i = fours; i < w.length; i++) a += w[i] * y[i];
  const dot = a + b + (c + d);
  if (dot === 0) return;
  for (let i = 0; i < w.length; i++) y[i] -= dot * w[i];
}

/** Reflects rows k + 1 on of what is left of the matrix: A -= (A w) w^T, with columns k + 1 on. */
function* reflectRows({ m, n, lines }: Bidiagonal, k: number, w: Float64Array): Iterable<void> {
  const begin = k + 1, product = new Float64Array(m - begin);
  for (let j = begin; j < n; j++) {
    const line = lines.subarray(j * m + begin, (j + 1) * m), factor = w[j - begin];
    for (let i = 0; i < line.length; i++) product[i] += factor * line[i];
  }
  yield;
  for (let j = begin; j < n; j++) {
    const line = lines.subarray(j * m + begin, (j + 1) * m), factor = w[j - begin];
    for (let i = 0; i < line.length; i++) line[i] -= factor * product[i];
  }
  yield;
}

/** The product of reflections, as lines: the first by the last of them, each from its own element on. */
function* accumulate(
  into: Float64Array,
  { width, count, vectorOf }: {
    readonly width: number;
    readonly count: number;
    /** The vector of a reflection and the element that it begins at. */
    readonly vectorOf: (k: number) => { readonly w: Float64Array; readonly at: number };
  },
): Iterable<void> {
  for (let i = 0; i < count; i++) into[i * width + i] = 1;
  for (let k = count - 1; k >= 0; k--) {
    const { w, at } = vectorOf(k);
    for (let i = at; i < count; i++) reflect(into.subarray(i * width + at, (i + 1) * width), w);
    yield;
  }
}

/** Fills d, e and the vectors: A = left^T B right. Yields between pieces of work. */
export function* bidiagonal(of: Bidiagonal, { left, right }: Vectors): Iterable<void> {
  const { m, n, lines, d, e } = of;
  const rights = new Float64Array(n * n);
  const leftOf = (k: number): Float64Array => lines.subarray(k * m + k, (k + 1) * m);
  const rightOf = (k: number): Float64Array => rights.subarray(k * n + k + 1, (k + 1) * n);
  for (let k = 0; k < n; k++) {
    const w = leftOf(k), row = rightOf(k);
    d[k] = reflection(w);
    for (let j = k + 1; j < n; j++) {
      reflect(lines.subarray(j * m + k, (j + 1) * m), w);
      row[j - k - 1] = lines[j * m + k];
    }
    yield;
    if (row.length === 0) continue;
    e[k] = reflection(row);
    yield* reflectRows(of, k, row);
  }
  yield* accumulate(left, { width: m, count: n, vectorOf: (k) => ({ w: leftOf(k), at: k }) });
  yield* accumulate(right, { width: n, count: n, vectorOf: (k) => ({ w: rightOf(k), at: k + 1 }) });
}

/**
 * Fits a cost model to measured times.
 *
 * @module
 */

/** A term of a model: what its constant multiplies, at x. */
export interface Term {
  /** With its unit: `us`, `us per token`. */
  readonly name: string;
  readonly of: (x: number) => number;
}

/** A point that was measured. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A model with its constants. */
export interface Fit {
  /** One for each term, none negative. */
  readonly constants: readonly number[];
  readonly at: (x: number) => number;
  /** Largest relative distance of a point from the model. */
  readonly worst: number;
}

/** Solves a small symmetric system by elimination with pivots. */
function solve(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const rows = matrix.map((row, i) => [...row, right[i]]);
  const size = rows.length;
  for (let i = 0; i < size; i++) {
    const pivot = rows.slice(i).reduce(
      (best, row, k) => Math.abs(row[i]) > Math.abs(rows[best][i]) ? i + k : best,
      i,
    );
    [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
    for (let k = 0; k < size; k++) {
      if (k === i) continue;
      const factor = rows[k][i] / rows[i][i];
      rows[k] = rows[k].map((value, j) => value - factor * rows[i][j]);
    }
  }
  return rows.map((row, i) => row[size] / row[i]);
}

function leastSquares(points: readonly Point[], terms: readonly Term[]): number[] {
  // Relative errors count: a sweep goes over orders of magnitude.
  const columns = terms.map(({ of }) => points.map(({ x, y }) => of(x) / y));
  const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((s, v, i) => s + v * b[i], 0);
  return solve(
    columns.map((a) => columns.map((b) => dot(a, b))),
    columns.map((a) => a.reduce((sum, value) => sum + value, 0)),
  );
}

/**
 * The constants of a sum of terms that come closest to the points in relative error. No cost is negative: a term whose
 * constant would be negative is left out.
 *
 * @throws RangeError for fewer points than terms.
 */
export function fit(points: readonly Point[], terms: readonly Term[]): Fit {
  if (points.length < terms.length) {
    throw new RangeError(`Cannot fit ${terms.length} constants to ${points.length} points`);
  }
  let used = [...terms];
  let found = leastSquares(points, used);
  while (used.length > 1 && found.some((value) => value < 0)) {
    const least = found.indexOf(Math.min(...found));
    used = used.filter((_, i) => i !== least);
    found = leastSquares(points, used);
  }
  const constants = terms.map((term) => used.includes(term) ? found[used.indexOf(term)] : 0);
  const at = (x: number): number => terms.reduce((sum, { of }, i) => sum + constants[i] * of(x), 0);
  const worst = Math.max(...points.map(({ x, y }) => Math.abs(at(x) / y - 1)));
  return { constants, at, worst };
}

/** A model and its constants in words. */
export function describeFit({ constants, worst }: Fit, terms: readonly Term[]): string {
  const parts = terms.flatMap(({ name }, i) =>
    constants[i] === 0 ? [] : [`${Number(constants[i].toPrecision(3))} ${name}`]
  );
  return `Model: ${parts.join(" + ")}; within ${Math.ceil(100 * worst)} % of every point.`;
}

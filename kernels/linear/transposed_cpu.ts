/**
 * x W on one core, in plain TypeScript: lines of W are added up, four at once to two rows of sums.
 *
 * @module
 */

/** Sizes of a product, the factor of all of it, and whether it is added to what y holds. */
export interface TransposedProduct {
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
  readonly factor?: number;
  readonly accumulate: boolean;
}

interface Operands {
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly y: Float32Array;
}

/** Rows whose float64 sums are held at once: few enough for the cache, many enough that W is seldom read. */
const rowBlock = 64;

/** sums[r] += x[row + r, k] weight[k] for one line of the weight and all rows of the block. */
function addLine(
  { x, weight }: Operands,
  sums: Float64Array,
  at: { row: number; rows: number; k: number },
  { inner, columns }: TransposedProduct,
): void {
  const w = at.k * columns;
  for (let r = 0; r < at.rows; r++) {
    const a = x[(at.row + r) * inner + at.k], s = r * columns;
    for (let i = 0; i < columns; i++) sums[s + i] += a * weight[w + i];
  }
}

/** The same for four lines from `k` on, two rows at a time; the last of an odd number alone. */
function addFourLines(
  { x, weight }: Operands,
  sums: Float64Array,
  at: { row: number; rows: number; k: number },
  { inner, columns }: TransposedProduct,
): void {
  const w0 = at.k * columns, w1 = w0 + columns, w2 = w1 + columns, w3 = w2 + columns;
  for (let r = 0; r < at.rows; r += 2) {
    const x0 = (at.row + r) * inner + at.k, x1 = x0 + inner, s0 = r * columns, s1 = s0 + columns;
    const a = x[x0], b = x[x0 + 1], c = x[x0 + 2], d = x[x0 + 3];
    if (r + 1 === at.rows) {
      for (let i = 0; i < columns; i++) {
        sums[s0 + i] += a * weight[w0 + i] + b * weight[w1 + i] + (c * weight[w2 + i] + d * weight[w3 + i]);
      }
      return;
    }
    const e = x[x1], f = x[x1 + 1], g = x[x1 + 2], h = x[x1 + 3];
    for (let i = 0; i < columns; i++) {
      const p = weight[w0 + i], q = weight[w1 + i], u = weight[w2 + i], v = weight[w3 + i];
      sums[s0 + i] += a * p + b * q + (c * u + d * v);
      sums[s1 + i] += e * p + f * q + (g * u + h * v);
    }
  }
}

/** y (rows, columns) = or += factor x (rows, inner) weight (inner, columns). Sums are float64. */
export function transposedProduct(operands: Operands, size: TransposedProduct): void {
  const { rows, inner, columns, factor = 1, accumulate } = size;
  const { y } = operands;
  const sums = new Float64Array(Math.min(rows, rowBlock) * columns);
  for (let row = 0; row < rows; row += rowBlock) {
    const count = Math.min(rowBlock, rows - row);
    sums.fill(0);
    let k = 0;
    for (; k + 4 <= inner; k += 4) addFourLines(operands, sums, { row, rows: count, k }, size);
    for (; k < inner; k++) addLine(operands, sums, { row, rows: count, k }, size);
    const begin = row * columns;
    for (let i = 0; i < count * columns; i++) {
      y[begin + i] = (accumulate ? y[begin + i] : 0) + factor * sums[i];
    }
  }
}

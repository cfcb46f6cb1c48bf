/**
 * The greatest singular values of a weight and their vectors, by products with the weight as it is stored: subspace
 * iteration as in scikit-learn's TruncatedSVD (Halko et al. 2009, arXiv 0909.4061). The products run on the device. The few
 * rows between them are made orthonormal on the host, and the last ones are decomposed there, in float64.
 *
 * @module
 */
import { normals } from "../../kernels/kernel.ts";
import { breathe } from "../breathe.ts";
import { tensor } from "../tensor.ts";
import type { BaseLinear, ReadyIo } from "./method.ts";
import { svd } from "./svd.ts";

/** Rows beside those that are asked for, and rounds: TruncatedSVD's, and those of LoRA-XS's authors. */
const moreRows = 10;
const rounds = 10;

/** Rows of numbers, (count, width). */
interface Rows {
  readonly count: number;
  readonly width: number;
  readonly data: Float64Array;
}

const rowOf = ({ width, data }: Rows, r: number): Float64Array => data.subarray(r * width, (r + 1) * width);

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Makes rows orthonormal in place, twice, as the first time leaves rounding; a row that depends on others becomes zeros. */
function orthonormalise(rows: Rows): void {
  for (let r = 0; r < rows.count; r++) {
    const own = rowOf(rows, r), before = Math.sqrt(dot(own, own));
    for (let again = 0; again < 2; again++) {
      for (let other = 0; other < r; other++) {
        const known = rowOf(rows, other), along = dot(own, known);
        for (let i = 0; i < own.length; i++) own[i] -= along * known[i];
      }
    }
    const norm = Math.sqrt(dot(own, own));
    const factor = norm > 1e-6 * before ? 1 / norm : 0;
    for (let i = 0; i < own.length; i++) own[i] *= factor;
  }
}

/** Products of few rows with a linear's weight W (out, in), and with its transpose. */
class Products {
  readonly #width: number;
  readonly #column: number;

  constructor(private readonly io: Pick<ReadyIo, "base" | "workspace">) {
    const total = (shapes: BaseLinear["shapes"]): number => shapes.reduce((sum, { out }) => sum + out, 0);
    const { shapes, index } = io.base;
    this.#width = total(shapes);
    this.#column = total(shapes.slice(0, index));
  }

  /** x W^T, (count, out). */
  async forward(x: Rows): Promise<Rows> {
    const { base, workspace } = this.io, { out } = base.shapes[base.index], width = this.#width;
    const y = workspace.alloc([x.count, width]);
    const step = base.product({
      x: workspace.upload(tensor(Float32Array.from(x.data), [x.count, x.width])),
      y,
      rows: x.count,
    });
    const found = await workspace.read([step], y), data = new Float64Array(x.count * out);
    for (let r = 0; r < x.count; r++) {
      const begin = r * width + this.#column;
      data.set(found.subarray(begin, begin + out), r * out);
    }
    return { count: x.count, width: out, data };
  }

  /** y W, (count, in). */
  async back(y: Rows): Promise<Rows> {
    const { base, workspace } = this.io, inSize = base.shapes[base.index].in, width = this.#width;
    const wide = new Float32Array(y.count * width), dx = workspace.alloc([y.count, inSize]);
    for (let r = 0; r < y.count; r++) wide.set(rowOf(y, r), r * width + this.#column);
    const dy = workspace.upload(tensor(wide, [y.count, width]));
    const found = await workspace.read([base.productBackward({ dy, dx, rows: y.count })], dx);
    return { count: y.count, width: inSize, data: Float64Array.from(found) };
  }
}

/** Rows that span the greatest right singular vectors of W. */
async function subspace(products: Products, start: Rows): Promise<Rows> {
  let rows = start;
  orthonormalise(rows);
  for (let round = 0; round < rounds; round++) {
    const images = await products.forward(rows);
    orthonormalise(images);
    await breathe();
    rows = await products.back(images);
    orthonormalise(rows);
    await breathe();
  }
  return rows;
}

/**
 * The factors of the best approximation of W of a rank: A = S V^T (rank, in) and B = U (out, rank), row-major. A vector's sign
 * is not said.
 */
export async function truncatedSvd(
  io: Pick<ReadyIo, "base" | "workspace">,
  { rank, random }: { readonly rank: number; readonly random: () => number },
): Promise<{ readonly a: Float32Array; readonly b: Float32Array }> {
  const { out, in: inSize } = io.base.shapes[io.base.index];
  const count = Math.min(rank + moreRows, out, inSize), products = new Products(io);
  const start = { count, width: inSize, data: Float64Array.from(normals(count * inSize, random)) };
  const rows = await subspace(products, start), images = await products.forward(rows);
  // Of W V, with the rows as V: its left vectors turn the rows, its right ones are W's own left ones.
  const { s, u: turns, v: lefts } = await svd(images.data, { out: count, in: out });
  const a = new Float32Array(rank * inSize), b = new Float32Array(out * rank);
  for (let k = 0; k < rank; k++) {
    const v = combined(rows, turns.subarray(k * count, (k + 1) * count)), isThere = s[k] > 1e-6 * s[0];
    for (let i = 0; i < inSize; i++) a[k * inSize + i] = s[k] * v[i];
    for (let o = 0; o < out; o++) b[o * rank + k] = isThere ? lefts[k * out + o] : 0;
  }
  return { a, b };
}

/** The sum of rows, each times its factor. */
function combined(rows: Rows, factors: Float64Array): Float64Array {
  const sum = new Float64Array(rows.width);
  for (let r = 0; r < rows.count; r++) {
    const own = rowOf(rows, r);
    for (let i = 0; i < sum.length; i++) sum[i] += factors[r] * own[i];
  }
  return sum;
}

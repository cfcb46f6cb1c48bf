/**
 * The sides of an ETHER module as they are served: the right one as factors that the base's weight makes, the left one as
 * vectors.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import type { ReadyIo } from "../method.ts";
import { baseProducts } from "./base_products.ts";
import { type ModuleTensor, shapeError } from "./module_tensors.ts";

/** Vectors of blocks, and the sign of what they add: y += sign p (p . y), with |p|^2 = 2 where H reflects. */
interface Vectors {
  readonly sign: 1 | -1;
  /** (blocks, size), row-major. */
  readonly values: Float64Array;
}

/** One side of a module: the vectors of u, and of v where there is one. */
export interface Side {
  readonly size: number;
  readonly vectors: readonly Vectors[];
}

/** Rows of a tensor, each of a certain squared length. */
function scaledRows(
  t: ModuleTensor,
  { blocks, square }: { readonly blocks: number; readonly square: number },
) {
  const size = t.values.length / blocks;
  const values = Float64Array.from(t.values);
  for (let b = 0; b < blocks; b++) {
    const row = values.subarray(b * size, (b + 1) * size);
    const squares = row.reduce((sum, value) => sum + value * value, 0);
    if (squares === 0) throw new ConfigError(`Cannot read adapter tensor "${t.name}": row ${b} is zero`);
    const factor = Math.sqrt(square / squares);
    for (let i = 0; i < size; i++) row[i] *= factor;
  }
  return values;
}

export function sideOf(tensors: readonly ModuleTensor[], blocks: number): Side {
  const [, size] = tensors[0].shape;
  for (const t of tensors) {
    if (t.shape.length !== 2 || t.shape[0] !== blocks || t.shape[1] !== size || size === 0) {
      throw shapeError(t, `(nb, size / nb) with "nb" = ${blocks}, and of one size`);
    }
  }
  const square = tensors.length === 1 ? 2 : 1;
  const signs = [-1, 1] as const;
  return {
    size: blocks * size,
    vectors: tensors.map((t, i) => ({ sign: signs[i], values: scaledRows(t, { blocks, square }) })),
  };
}

/** A module's sides. */
export interface Sides {
  readonly blocks: number;
  readonly right?: Side;
  readonly left?: Side;
}

/** A (rank, in): each block's vectors, in each chunk of x; and the blocks and chunks of its rows. */
function rightFactor({ blocks, right }: Sides) {
  const { size, vectors } = right!, chunk = size / blocks;
  const rows = Array.from(
    { length: blocks * blocks },
    (_, i) => ({ b: Math.floor(i / blocks), c: i % blocks }),
  )
    .flatMap((place) => vectors.map((own) => ({ ...place, ...own })));
  const a = new Float32Array(rows.length * size);
  rows.forEach(({ b, c, values }, r) =>
    a.set(values.subarray(b * chunk, (b + 1) * chunk), r * size + c * chunk)
  );
  return { a, rows };
}

/** A, then B (out, rank): W A^T where a row of W has the vector's block in that chunk, 0 elsewhere. */
export async function rightFactors(sides: Sides, io: ReadyIo): Promise<[Float32Array, Float32Array]> {
  const { a, rows } = rightFactor(sides);
  const { out } = io.base.shapes[io.base.index];
  const products = await baseProducts(io, a.slice(), rows.length);
  const factor = new Float32Array(out * rows.length);
  rows.forEach(({ b, c, sign }, r) => {
    for (let o = 0; o < out; o++) {
      if (Math.floor((o * sides.blocks + c) / out) !== b) continue;
      factor[o * rows.length + r] = sign * products[r * out + o];
    }
  });
  return [a, factor];
}

/** The number of blocks, p (out) and q (out), zeros where there is none. */
export function leftNumbers({ blocks, left }: Sides, out: number): Float32Array {
  const numbers = new Float32Array(1 + 2 * out);
  numbers[0] = left ? blocks : 1;
  for (const { sign, values } of left?.vectors ?? []) numbers.set(values, sign < 0 ? 1 : 1 + out);
  return numbers;
}

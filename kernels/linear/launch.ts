/**
 * Which text and grid a linear kernel runs with.
 *
 * @module
 */
import {
  type Binding,
  type Choice,
  type Dispatch,
  type DType,
  grid,
  type Launch,
  type Limits,
} from "../kernel.ts";
import { columnsOf, type Matvec, matvecThreads, matvecWgsl, rowBlock } from "./matvec.ts";
import { matrixLaunch, matrixTiles, matrixWays, takesMatrixUnits } from "./matrix_launch.ts";
import { type Operand, partialScratch, type Product, productLaunch } from "./product.ts";
import type { Tile } from "./tiled.ts";
import { productWays, type Walk, wayOf } from "./ways.ts";
import { denseMatvec, elementsOfStep, putBody, putQuadBody, uniforms } from "./wgsl.ts";

interface Sizes {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
}

/** What of a dense product is not a size. */
interface Kind {
  readonly weight: DType;
  readonly bias: boolean;
}

/** A weight (out, in): its binding, and how elements are read. */
type WeightOperand = Omit<Operand, "along" | "shape" | "base">;

/** A product for few rows; `reads` are its bindings from x to the one before y, `steps` those of a row. */
export function matvecDispatch(
  weight: Matvec,
  { sizes: { rows, out }, reads, steps, walk }: {
    readonly sizes: Sizes;
    readonly reads: readonly string[];
    readonly steps: number;
    readonly walk: Walk;
  },
  limits: Limits,
): Dispatch {
  const block = rowBlock(rows, weight.quads.length);
  const threads = walk.subgroups ? 128 : matvecThreads(steps);
  const bindings: Binding[] = reads.map((name) => ({ name, access: "read" }));
  return {
    wgsl: matvecWgsl(weight, { block, threads, walk }),
    bindings: [...bindings, { name: "y", access: "read_write" }],
    grid: grid(Math.ceil(rows / block) * Math.ceil(out / columnsOf(walk)), limits),
  };
}

/** The launch of y = or += x W^T (+ bias) in tiles; `uniforms` have the words of the linear kernels among them. */
export function tiledLaunch(
  weight: WeightOperand,
  { sizes, bias, uniforms, tile }: {
    readonly sizes: Sizes;
    readonly bias: boolean;
    readonly uniforms: Product["uniforms"];
    readonly tile: Tile;
  },
  limits: Limits,
): Launch {
  const rows = { count: sizes.rows, text: "uniforms.rows" };
  const inner = { count: sizes.in, text: "uniforms.in" };
  const columns = { count: sizes.out, text: "uniforms.out" };
  const made = productLaunch(
    {
      uniforms,
      x: { name: "x", dtype: "float32", along: "inner", shape: [rows, inner] },
      weight: { ...weight, along: "inner", shape: [columns, inner] },
      y: { name: "y", put: putBody(bias), putQuad: putQuadBody(bias) },
      rows,
      columns,
      inner,
      also: bias ? ["bias"] : [],
    },
    limits,
    tile,
  );
  return { dispatches: made.dispatches, scratch: partialScratch([made]) };
}

/** The launch of dx = or += dy W, in tiles; `uniforms` as {@linkcode tiledLaunch} takes them. */
export function transposedLaunch(
  weight: WeightOperand,
  { sizes, uniforms }: { readonly sizes: Sizes; readonly uniforms: Product["uniforms"] },
  limits: Limits,
): Launch {
  const rows = { count: sizes.rows, text: "uniforms.rows" };
  const inner = { count: sizes.out, text: "uniforms.out" };
  const columns = { count: sizes.in, text: "uniforms.in" };
  const made = productLaunch({
    uniforms,
    x: { name: "dy", dtype: "float32", along: "inner", shape: [rows, inner] },
    weight: { ...weight, along: "outer", shape: [inner, columns] },
    y: {
      name: "dx",
      put: `let i = row * uniforms.in + column;
  var sum = value;
  if (uniforms.accumulate != 0) { sum += dx[i]; }
  dx[i] = sum;`,
    },
    rows,
    columns,
    inner,
  }, limits);
  return { dispatches: made.dispatches, scratch: partialScratch([made]) };
}

/** The ways of y = or += x W^T (+ bias): tiles on matrix units where there are such, and plain arithmetic. */
export function linearWays(sizes: Sizes, weight: DType, limits: Limits): Choice {
  const { rows, in: inner, out: columns } = sizes;
  const plain = productWays({ rows, columns, inner, weight }, limits);
  if (weight !== "float16" || !takesMatrixUnits(sizes, limits)) return plain;
  const { key, ways } = matrixWays(sizes);
  // With many rows, plain arithmetic is never as fast.
  return { key, ways: rows <= 128 ? [...ways, plain.ways[0]] : ways };
}

/**
 * The launch of y = or += x W^T (+ bias).
 *
 * @throws RangeError for an empty weight, and for a way that there is not.
 */
export function linearLaunch(
  sizes: Sizes,
  { weight, bias }: Kind,
  { limits, way = linearWays(sizes, weight, limits).ways[0] }: {
    readonly limits: Limits;
    readonly way?: string;
  },
): Launch {
  const { in: inSize, out } = sizes;
  if (inSize < 1 || out < 1) {
    throw new RangeError(`Cannot multiply by a weight of (${out}, ${inSize}): both sizes must be positive`);
  }
  const matrixTile = matrixTiles[way];
  if (matrixTile && weight === "float16" && takesMatrixUnits(sizes, limits)) {
    return matrixLaunch(sizes, { tile: matrixTile, bias }, limits);
  }
  const chosen = wayOf(way);
  if ("walk" in chosen) {
    const reads = ["x", "weight", ...(bias ? ["bias"] : [])];
    const steps = inSize / elementsOfStep(weight, inSize);
    const matvec = denseMatvec(weight, { inSize, bias });
    return { dispatches: [matvecDispatch(matvec, { sizes, reads, steps, walk: chosen.walk }, limits)] };
  }
  const operand = { name: "weight", dtype: weight };
  return tiledLaunch(operand, { sizes, bias, uniforms, tile: chosen.tile }, limits);
}

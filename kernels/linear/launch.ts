/**
 * Which text and grid a linear kernel runs with.
 *
 * @module
 */
import { dense } from "../formats/dense.ts";
import { stepsOf, type StoredWeight } from "../formats/format.ts";
import { type Binding, type Choice, type Dispatch, grid, type Launch, type Limits } from "../kernel.ts";
import { columnsOf, matvecThreads, matvecWgsl, rowBlock } from "./matvec.ts";
import { matrixLaunch, matrixTiles, matrixWays, takesMatrixUnits } from "./matrix_launch.ts";
import { floats, ofWeight, partialScratch, productLaunch } from "./product.ts";
import type { Tile } from "./tiled.ts";
import { productWays, type Walk, wayOf } from "./ways.ts";
import { matvecPrelude, putBody, putQuadBody, uniforms } from "./wgsl.ts";

interface Sizes {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
}

/** What of a product is not a size. */
interface Kind {
  readonly weight: StoredWeight;
  readonly bias: boolean;
}

/** A product for few rows. */
function matvecDispatch(
  { rows, in: inSize, out }: Sizes,
  { weight, bias }: Kind,
  { walk, limits }: { readonly walk: Walk; readonly limits: Limits },
): Dispatch {
  const names = Object.keys(weight.format.buffers), steps = stepsOf(weight, inSize);
  const block = rowBlock(rows, steps.quads.length);
  const threads = walk.subgroups ? 128 : matvecThreads(steps.count);
  const reads = ["x", ...names, ...(bias ? ["bias"] : [])];
  const bindings: Binding[] = reads.map((name) => ({ name, access: "read" }));
  const prelude = matvecPrelude({ names, steps, bias, inSize });
  return {
    wgsl: matvecWgsl({ ...steps, prelude }, { block, threads, walk }),
    bindings: [...bindings, { name: "y", access: "read_write" }],
    grid: grid(Math.ceil(rows / block) * Math.ceil(out / columnsOf(walk)), limits),
  };
}

/** A product in tiles. */
function tiledLaunch(
  sizes: Sizes,
  { weight, bias }: Kind,
  { tile, limits }: { readonly tile: Tile; readonly limits: Limits },
): Launch {
  const rows = { count: sizes.rows, text: "uniforms.rows" };
  const inner = { count: sizes.in, text: "uniforms.in" };
  const columns = { count: sizes.out, text: "uniforms.out" };
  const made = productLaunch(
    {
      uniforms,
      x: { stored: floats({ name: "x" }), along: "inner", shape: [rows, inner] },
      weight: { stored: ofWeight(weight), along: "inner", shape: [columns, inner] },
      y: { name: "y", put: putBody(bias), putQuad: putQuadBody(bias) },
      rows,
      columns,
      inner,
      also: bias ? ["bias"] : [],
    },
    limits,
    tile,
  );
  return { dispatches: made.dispatches, scratch: partialScratch([made]), sliced: made.sliced };
}

/**
 * The launch of dx = or += dy W, in tiles.
 *
 * @throws RangeError for a weight that its format cannot have.
 */
export function transposedLaunch(sizes: Sizes, weight: StoredWeight, limits: Limits): Launch {
  weight.format.check(sizes);
  const rows = { count: sizes.rows, text: "uniforms.rows" };
  const inner = { count: sizes.out, text: "uniforms.out" };
  const columns = { count: sizes.in, text: "uniforms.in" };
  const made = productLaunch({
    uniforms,
    x: { stored: floats({ name: "dy" }), along: "inner", shape: [rows, inner] },
    weight: { stored: ofWeight(weight), along: "outer", shape: [inner, columns] },
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

/** Whether matrix units, which multiply float16, can multiply by a weight as it is stored. */
function suitsMatrixUnits({ format, types }: StoredWeight, sizes: Sizes, limits: Limits): boolean {
  return format === dense && types.weight === "float16" && takesMatrixUnits(sizes, limits);
}

/** The ways of y = or += x W^T (+ bias): tiles on matrix units where there are such, and plain arithmetic. */
export function linearWays(sizes: Sizes, weight: StoredWeight, limits: Limits): Choice {
  const { rows, in: inner, out: columns } = sizes;
  const { buffers, stepBytes } = weight.format;
  const stored = Object.keys(buffers).map((name) => weight.types[name]).join(" and ");
  const plain = productWays({ rows, columns, inner, weight: stored, stepBytes }, limits);
  if (!suitsMatrixUnits(weight, sizes, limits)) return plain;
  const { key, ways } = matrixWays(sizes);
  // With many rows, plain arithmetic is never as fast.
  return { key, ways: rows <= 128 ? [...ways, plain.ways[0]] : ways };
}

/**
 * The launch of y = or += x W^T (+ bias).
 *
 * @throws RangeError for a weight that its format cannot have, and for a way that there is not.
 */
export function linearLaunch(
  sizes: Sizes,
  kind: Kind,
  { limits, way = linearWays(sizes, kind.weight, limits).ways[0] }: {
    readonly limits: Limits;
    readonly way?: string;
  },
): Launch {
  const { weight, bias } = kind;
  weight.format.check(sizes);
  const matrixTile = matrixTiles[way];
  if (matrixTile && suitsMatrixUnits(weight, sizes, limits)) {
    return matrixLaunch(sizes, { tile: matrixTile, bias }, limits);
  }
  const chosen = wayOf(way);
  if ("tile" in chosen) return tiledLaunch(sizes, kind, { tile: chosen.tile, limits });
  return { dispatches: [matvecDispatch(sizes, kind, { walk: chosen.walk, limits })] };
}

/**
 * Which text and grid a linear kernel runs with.
 *
 * @module
 */
import { type Dispatch, type DType, grid, type Limits } from "../kernel.ts";
import { denseSteps, matvecThreads, matvecWgsl, rowBlock } from "./matvec.ts";
import { type Tile, tiledWgsl } from "./tiled.ts";
import { prelude, type Variant } from "./wgsl.ts";

/** Up to here reading the weight costs more than the arithmetic, and tiles would leave most of a GPU idle. */
export const fewRows = 32;

/** Workgroups of the large tile that it takes to fill a large GPU. */
const manyTiles = 100;

interface Sizes {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
}

/** The one dispatch of y = or += x W^T (+ bias). */
export function linearDispatch(
  sizes: Sizes,
  { weight, bias }: { readonly weight: DType; readonly bias: boolean },
  limits: Limits,
): Dispatch {
  const { rows, in: inSize, out: outSize } = sizes;
  if (inSize < 1 || outSize < 1) {
    throw new RangeError(
      `Cannot multiply by a weight of (${outSize}, ${inSize}): both sizes must be positive`,
    );
  }
  const variant: Variant = { weight, bias, wide: inSize % 4 === 0 };
  const bindings = ["x", "weight", ...(bias ? ["bias"] : [])].map((name) => ({
    name,
    access: "read" as const,
  }));
  const common = { bindings: [...bindings, { name: "y", access: "read_write" as const }] };
  if (rows <= fewRows) {
    const block = rowBlock(rows);
    const groups = Math.ceil(rows / block) * Math.ceil(outSize / 4);
    const wgsl = matvecWgsl({ ...denseSteps, prelude: prelude(variant) }, {
      block,
      threads: matvecThreads(inSize),
    });
    return { ...common, wgsl, grid: grid(groups, limits) };
  }
  const tiles = (tile: Tile): number => Math.ceil(rows / tile) * Math.ceil(outSize / tile);
  const tile: Tile = tiles(128) >= manyTiles ? 128 : 64;
  const wgsl = tiledWgsl({
    tile,
    prelude: prelude(variant),
    rows: "uniforms.rows",
    columns: "uniforms.out",
    inner: "uniforms.in",
    x: "inner",
    weight: "inner",
    slices: 1,
  });
  return { ...common, wgsl, grid: grid(tiles(tile), limits) };
}

/**
 * Which text and grid a linear kernel runs with.
 *
 * @module
 */
import { type Choice, type Dispatch, type DType, grid, type Launch, type Limits } from "../kernel.ts";
import { matrixLaunch, matrixTiles, matrixWays, takesMatrixUnits } from "./matrix_launch.ts";
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

/** What a product's launch depends on beside its sizes and the device. */
interface Operands {
  readonly weight: DType;
  readonly bias: boolean;
}

/** The ways of y = or += x W^T (+ bias): tiles on matrix units, and `plain`. */
export function linearWays(sizes: Sizes, weight: DType, limits: Limits): Choice {
  const plain = { key: "", ways: ["plain"] };
  if (weight !== "float16" || !takesMatrixUnits(sizes, limits)) return plain;
  const { key, ways } = matrixWays(sizes);
  // With many rows, plain arithmetic is never as fast.
  return { key, ways: sizes.rows <= 4 * fewRows ? [...ways, ...plain.ways] : ways };
}

/**
 * The launch of y = or += x W^T (+ bias), in one of its ways, by default the first.
 *
 * @throws RangeError for an empty weight, and for a way that there is not.
 */
export function linearLaunch(
  sizes: Sizes,
  { weight, bias }: Operands,
  { limits, way }: { readonly limits: Limits; readonly way?: string },
): Launch {
  const { in: inSize, out: outSize } = sizes;
  if (inSize < 1 || outSize < 1) {
    throw new RangeError(
      `Cannot multiply by a weight of (${outSize}, ${inSize}): both sizes must be positive`,
    );
  }
  const { ways } = linearWays(sizes, weight, limits);
  const chosen = way ?? ways[0];
  if (!ways.includes(chosen)) {
    throw new RangeError(`Cannot multiply in the way "${chosen}": the ways are ${ways.join(", ")}`);
  }
  const tile = matrixTiles[chosen];
  return tile
    ? matrixLaunch(sizes, { tile, bias }, limits)
    : { dispatches: [linearDispatch(sizes, { weight, bias }, limits)] };
}

function linearDispatch(
  sizes: Sizes,
  { weight, bias }: Operands,
  limits: Limits,
): Dispatch {
  const { rows, in: inSize, out: outSize } = sizes;
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

/**
 * In which ways a product may run: tiles of several shapes, and for few rows, several columns at a time. Which is fastest
 * is a matter of the GPU; the first of each size is what large ones of 2023 should like.
 *
 * @module
 */
import type { Choice, Limits } from "../kernel.ts";
import { bytesOf, sidesOf, type Tile } from "./tiled.ts";

/** How a product for few rows goes through the weight. */
export interface Walk {
  /** Columns of y that are made at once: rows of the weight. */
  readonly columns: number;
  /** Steps of each column that are read before they are used. */
  readonly steps: number;
  /** Whether a subgroup makes columns of its own, where else a workgroup makes them together. */
  readonly subgroups?: boolean;
}

/** Tiles by name: rows x columns. */
export const tiles = {
  "32x32": { lanes: [8, 8], quads: [1, 1], buffers: 1 },
  "16x128": { lanes: [4, 16], quads: [1, 2], buffers: 1 },
  "32x128": { lanes: [8, 16], quads: [1, 2], buffers: 1 },
  "64x64": { lanes: [8, 8], quads: [2, 2], buffers: 1 },
  "64x128": { lanes: [8, 16], quads: [2, 2], buffers: 1 },
  "128x128": { lanes: [16, 16], quads: [2, 2], buffers: 1 },
  "128x128, two buffers": { lanes: [16, 16], quads: [2, 2], buffers: 2 },
  "128x128, 16 rows a thread": { lanes: [8, 16], quads: [4, 2], buffers: 1 },
} as const satisfies Readonly<Record<string, Tile>>;

/** Walks by name. */
export const walks = {
  "4 columns": { columns: 4, steps: 1 },
  "4 columns, two steps": { columns: 4, steps: 2 },
  "8 columns": { columns: 8, steps: 1 },
  "4 columns, four steps": { columns: 4, steps: 4 },
  "8 columns, two steps": { columns: 8, steps: 2 },
  "16 columns": { columns: 16, steps: 1 },
  "2 columns a subgroup": { columns: 2, steps: 4, subgroups: true },
} as const satisfies Readonly<Record<string, Walk>>;

type Way = keyof typeof tiles | keyof typeof walks;

/** Up to here a walk is always right: a tile would be filled with less than half. */
const fewRows = 8;

/** Tiles of the largest shape that it takes to fill half of a large GPU. */
const manyTiles = 64;

/** Elements of y of which larger tiles would be too few; the text of a small one compiles in a fourth of the time, too. */
const smallResult = 2 ** 13;

interface Sizes {
  readonly rows: number;
  readonly columns: number;
}

/** Rows that are as one for the choice: up to a power of two. */
const rowsClass = (rows: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, rows)));

function tileNames({ rows, columns }: Sizes): (keyof typeof tiles)[] {
  const [tileRows, tileColumns] = sidesOf(tiles["128x128"]);
  if (rows * Math.ceil(columns / tileColumns) >= manyTiles * tileRows) {
    return ["128x128", "64x128", "128x128, two buffers", "128x128, 16 rows a thread"];
  }
  if (rows * columns <= smallResult) return ["32x32", "16x128"];
  if (rows <= 16) return ["16x128", "32x128"];
  if (rows <= 32) return ["32x128", "16x128"];
  return columns <= 64 ? ["64x64", "64x128"] : ["64x128", "64x64", "32x128"];
}

/** Bytes of a step that is not short. */
const longStep = 16;

/**
 * With more rows, x and the arithmetic take the time in which more of the weight would be read ahead. Of short steps more
 * have to be under way.
 */
function walkNames(rows: number, stepBytes: number): (keyof typeof walks)[] {
  if (rows > 2) return ["4 columns", "8 columns", "2 columns a subgroup"];
  return stepBytes < longStep
    ? ["4 columns", "8 columns, two steps", "4 columns, four steps", "16 columns"]
    : ["4 columns", "4 columns, two steps", "8 columns", "2 columns a subgroup"];
}

/** The tile for sizes of which nothing was timed. */
export function usualTile({ rows, columns }: Sizes): Tile {
  return tiles[tileNames({ rows: rowsClass(rows), columns })[0]];
}

/** Whether a device has what a way needs. */
function runs(way: Way, { workgroupStorageBytes, features }: Limits): boolean {
  if (way in tiles) return bytesOf(tiles[way as keyof typeof tiles]) <= workgroupStorageBytes;
  return !(walks[way as keyof typeof walks] as Walk).subgroups || features.has("subgroups");
}

/** What a product's ways depend on: `weight` names the element types that the weight is stored in. */
interface Product extends Sizes {
  readonly inner: number;
  readonly weight: string;
  readonly stepBytes: number;
}

/** The ways of y (rows, columns) from `inner` inputs. */
export function productWays({ rows, columns, inner, weight, stepBytes }: Product, limits: Limits): Choice {
  const rowsTo = rowsClass(rows);
  const names: Way[] = rowsTo <= fewRows
    ? walkNames(rowsTo, stepBytes)
    : [...tileNames({ rows: rowsTo, columns }), ...(rowsTo <= 32 ? ["8 columns" as const] : [])];
  return {
    key: `up to ${rowsTo} rows, ${inner} by ${columns}, ${weight}`,
    ways: names.filter((way) => runs(way, limits)),
  };
}

/** The tile or the walk of a way. */
export function wayOf(name: string): { readonly tile: Tile } | { readonly walk: Walk } {
  if (Object.hasOwn(tiles, name)) return { tile: tiles[name as keyof typeof tiles] };
  if (Object.hasOwn(walks, name)) return { walk: walks[name as keyof typeof walks] };
  const known = [...Object.keys(tiles), ...Object.keys(walks)].map((way) => `"${way}"`).join(", ");
  throw new RangeError(`Cannot multiply in the way "${name}": there are ${known}`);
}

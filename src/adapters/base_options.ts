/**
 * What adapters are read with where their base model is known.
 *
 * @module
 */
import type { Linear } from "./bank.ts";
import type { ReadOptions } from "./method.ts";

/** What a base model tells of its linears, by path. */
export type BaseOptions = Required<Pick<ReadOptions, "shapeOf" | "placeOf">> & Pick<ReadOptions, "pathOf">;

/**
 * What a base model tells adapters that are read for it.
 *
 * @param linears All of the model's, in its order (`Model.linears`).
 */
export function baseOptions(linears: readonly Linear[]): BaseOptions {
  const known = new Map(linears.map(({ path, shape }, place) => [path, { shape, place }]));
  return { shapeOf: (path) => known.get(path)?.shape, placeOf: (path) => known.get(path)?.place };
}

/**
 * What methods share that write a sum of adapters as one file.
 *
 * @module
 */
import { CombinationError } from "../../errors.ts";
import { type HostTensor, tensor } from "../../tensor.ts";
import type { AdapterModule, Summand } from "../method.ts";
import { checkReach, greatestSize } from "../numbers.ts";

/** What stands before a module's path in PEFT's names. */
export const prefix = "base_model.model.";

/** A module of a sum, and its adapter. */
export interface Piece<M extends AdapterModule> {
  readonly module: M;
  readonly summand: Summand;
}

/** Every path that an adapter adapts, with the modules there. All are of the method that asks. */
export function piecesByPath<M extends AdapterModule>(adapters: readonly Summand[]): Map<string, Piece<M>[]> {
  const all = new Map<string, Piece<M>[]>();
  for (const summand of adapters) {
    for (const [path, module] of summand.modules) {
      const pieces = all.get(path) ?? [];
      pieces.push({ module: module as M, summand });
      all.set(path, pieces);
    }
  }
  return all;
}

/** The number that most modules have, and the others' by path: PEFT's patterns. */
export function withPattern(
  numbers: ReadonlyMap<string, number>,
): { most: number; pattern: Record<string, number> } {
  const counts = new Map<number, number>();
  for (const number of numbers.values()) counts.set(number, (counts.get(number) ?? 0) + 1);
  const [most] = [...counts].reduce((best, one) => one[1] > best[1] ? one : best);
  return { most, pattern: Object.fromEntries([...numbers].filter(([, number]) => number !== most)) };
}

/** The greatest size of any scale; 1 where all are 0. */
export const largest = (scales: readonly number[]): number => Math.max(...scales.map(Math.abs)) || 1;

/** Throws CombinationError unless all adapters have the same of something. */
export function checkSame<T>(
  adapters: readonly Summand[],
  of: (one: Summand) => T,
  rule: (one: T, other: T) => string,
): T {
  const [first, ...others] = adapters.map(of), other = others.find((one) => one !== first);
  if (other !== undefined) throw new CombinationError(rule(first, other));
  return first;
}

/** Numbers times factors, added up in float64 and rounded once; shorter ones come first in longer ones. */
export function weightedSum(
  path: string,
  parts: readonly { readonly values: Float32Array; readonly factor: number }[],
  shape?: readonly number[],
): HostTensor {
  const sums = new Float64Array(Math.max(...parts.map(({ values }) => values.length)));
  for (const { values, factor } of parts) {
    for (let i = 0; i < values.length; i++) sums[i] += factor * values[i];
  }
  const values = Float32Array.from(sums);
  checkReach(greatestSize(values), `the sum of modules "${path}"`);
  return tensor(values, shape);
}

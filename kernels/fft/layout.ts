/**
 * Where a transform's points lie in workgroup memory while they change hands.
 *
 * Memory has banks (32 of four bytes, or 16 of eight): the invocations of a subgroup that meet in one wait for each other.
 * A pass of radix r after passes of product d writes runs of d points, d r apart: unused places after each run of d r send
 * the runs to different banks. A place is then a base that few operations make and constants beyond it, which the compiler
 * puts into the instruction and can prove to lie within the array.
 *
 * @module
 */
import { isStraight } from "./butterfly.ts";

/** A place among points: a WGSL value, and a constant beyond it. */
export interface Place {
  readonly base: string;
  readonly plus?: number;
}

/** The place as a WGSL expression. */
export const index = ({ base, plus = 0 }: Place): string => plus === 0 ? base : `${base} + ${plus}u`;

/**
 * How points lie: one after the other; with `pad` unused places after each `every` points; or permuted by the function
 * `at`, where memory has no room for padding.
 */
export type Layout = "plain" | "permuted" | { readonly every: number; readonly pad: number };

/** What decides on layouts. */
export interface LayoutOf {
  readonly size: number;
  readonly radices: readonly number[];
  /** Whether real and imaginary parts change hands one after the other, in four bytes a point. */
  readonly parts: boolean;
  /** Whether there is room for {@linkcode paddedPoints}. */
  readonly padded: boolean;
}

/** How the points that the pass of `radix` after passes of product `done` writes lie until the next one reads them. */
export function passLayout(
  { parts, padded }: Pick<LayoutOf, "parts" | "padded">,
  { radix, done }: { readonly radix: number; readonly done: number },
): Layout {
  const banks = parts ? 32 : 16;
  const run = done * radix;
  // From runs of half the banks on, two invocations meet at most: less than what padding costs in memory.
  if (2 * done >= banks || run % 2 === 1 || !isStraight(radix)) return "plain";
  if (!padded) return "permuted";
  if (run >= banks) return { every: run, pad: done };
  return banks % run === 0 ? { every: banks, pad: 1 } : "plain";
}

/** Places that the points of a transform take, padding included. */
export function paddedPoints({ size, radices, parts }: Omit<LayoutOf, "padded">): number {
  let done = 1;
  const ends = radices.slice(0, -1).map((radix) => {
    const layout = passLayout({ parts, padded: true }, { radix, done });
    done *= radix;
    return typeof layout === "string" ? size : size + Math.floor((size - 1) / layout.every) * layout.pad;
  });
  return Math.max(size, ...ends);
}

/** WGSL expression of a place in `work`. */
export function placeInWork(layout: Layout, place: Place): string {
  const { base, plus = 0 } = place;
  if (layout === "plain") return index(place);
  if (layout === "permuted") return `at(${index(place)})`;
  const { every, pad } = layout;
  const behind = (i: string): string => `${i} / ${every}u${pad === 1 ? "" : ` * ${pad}u`}`;
  // Bases of constants below `every` begin a run; others are only moved by whole ones.
  const moves = plus < every || plus % every === 0;
  if (!moves) return `${index(place)} + ${behind(`(${index(place)})`)}`;
  return index({ base: `${base} + ${behind(base)}`, plus: plus + Math.floor(plus / every) * pad });
}

/**
 * How a real transform of some length is computed by workgroups: a pure value, made without a device.
 *
 * @module
 */
import type { Limits } from "../kernel.ts";
import { straightRadices } from "./butterfly.ts";

/** Points of a transform an invocation is best given. */
const pointsPerThread = 4;
/** Invocations that a short transform is given all the same: an adapter's coefficients are dealt to them, too. */
const fewestThreads = 128;
/** More than these wait for each other longer than they save. */
const mostThreads = 512;

/** Longest transform: index products are reduced in 32-bit integers (see `mulmod` in wgsl.ts). */
export const maxLength = 2 ** 20;

/**
 * A real transform of `length`, computed as complex transforms of `size` points in workgroup memory.
 *
 * - `half`: even length, one workgroup, `size = length / 2`: neighbouring reals form a complex number.
 * - `residues`: `length = residues * size`. Workgroup r of the analysis folds x to `size` points and yields the bins
 *   k = r (mod residues); workgroup r of the synthesis yields the elements p = r (mod residues).
 */
export interface TransformPlan {
  readonly length: number;
  readonly mode: "half" | "residues";
  readonly residues: number;
  readonly size: number;
  /** In the order of the passes; their product is `size`. */
  readonly radices: readonly number[];
  /** Invocations a workgroup is best given. */
  readonly threads: number;
}

/** Radices of a complex transform: odd primes first (those without a butterfly read workgroup memory only). */
export function radicesOf(size: number): number[] {
  let rest = size;
  let twos = 0;
  for (; rest % 2 === 0; rest /= 2) twos++;
  const odd: number[] = [];
  for (let p = 3; rest > 1; p += 2) {
    if (p * p > rest) p = rest;
    for (; rest % p === 0; rest /= p) odd.push(p);
  }
  return [...odd.sort((a, b) => b - a), ...powersOfTwo(twos)];
}

/** 2^twos as few radices up to 8, none smaller than it must be. */
function powersOfTwo(twos: number): number[] {
  const passes = Math.ceil(twos / 3);
  return Array.from({ length: passes }, (_, i) => 2 ** Math.ceil((twos - i) / passes));
}

/** Multiply-adds a point of a pass costs, about: what planning compares. */
function passCost(radix: number): number {
  return straightRadices.includes(radix) ? 6 + radix / 2 : 4 * radix;
}

function cost(length: number, residues: number): number {
  const size = length / residues;
  const groups = Math.floor(residues / 2) + 1;
  const fold = residues > 1 ? 4 * length : 0;
  return groups * (fold + size * radicesOf(size).reduce((sum, r) => sum + passCost(r), 1));
}

function divisors(n: number): number[] {
  const found: number[] = [];
  for (let d = 1; d * d <= n; d++) {
    if (n % d === 0) found.push(d, n / d);
  }
  return found;
}

/**
 * Plans a real transform of `length` elements within `limits`.
 *
 * @throws RangeError when `length` is not an integer in 1..2^20.
 */
export function planTransform(length: number, limits: Limits): TransformPlan {
  if (!Number.isInteger(length) || length < 1 || length > maxLength) {
    throw new RangeError(
      `Cannot transform ${length} elements: the length must be an integer in 1..${maxLength}`,
    );
  }
  const most = Math.floor(limits.workgroupStorageBytes / 128) * 16;
  const half = length % 2 === 0 && length / 2 <= most;
  const residues = half || length <= most
    ? 1
    : divisors(length).filter((r) => length / r <= most).reduce((a, b) =>
      cost(length, b) < cost(length, a) ? b : a
    );
  const size = half ? length / 2 : length / residues;
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(size / pointsPerThread, fewestThreads)));
  return {
    length,
    mode: half ? "half" : "residues",
    residues,
    size,
    radices: radicesOf(size),
    threads: Math.min(wanted, limits.invocations, mostThreads),
  };
}

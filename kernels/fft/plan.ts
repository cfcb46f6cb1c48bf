/**
 * How a real transform of some length is computed by workgroups: a pure value, made without a device.
 *
 * @module
 */
import type { Limits } from "../kernel.ts";
import { isStraight } from "./butterfly.ts";
import { paddedPoints } from "./layout.ts";

/** Points of a transform an invocation is best given. */
const pointsPerThread = 4;
/** Invocations that a short transform is given all the same: an adapter's coefficients are dealt to them, too. */
const fewestThreads = 128;
/** More than these wait for each other longer than they save. */
export const mostThreads = 512;
/** Largest power of two among radices. */
const mostRadix = 8;
/** Largest radix without a butterfly: float32 sums of half as many terms err by 2e-7. */
const mostLooped = 255;

/** Longest transform: index products are reduced in 32-bit integers (see `mulmod` in wgsl.ts). */
export const maxLength = 2 ** 20;

/**
 * A real transform of `length`, computed as complex transforms of `size` points in registers and workgroup memory.
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
  /**
   * Whether points change hands by parts, the real and then the imaginary ones, through four bytes a point instead of
   * eight: twice the points fit, for twice the barriers.
   */
  readonly parts: boolean;
  /** Whether memory has room for places that keep invocations off each other's banks; see layout.ts. */
  readonly padded: boolean;
  /** In the order of the passes; their product is `size`. */
  readonly radices: readonly number[];
  /** Invocations a workgroup is best given. */
  readonly threads: number;
}

/** Radices of a complex transform: first all primes without a butterfly as one radix, then odd ones, then powers of two. */
export function radicesOf(size: number): number[] {
  let rest = size;
  let twos = 0;
  for (; rest % 2 === 0; rest /= 2) twos++;
  const straight: number[] = [];
  for (let p = 3; p <= rest; p += 2) {
    for (; isStraight(p) && rest % p === 0; rest /= p) straight.unshift(p);
    if (p * p > rest && !isStraight(rest)) break;
  }
  return [...(rest > 1 ? [rest] : []), ...straight, ...powersOfTwo(twos)];
}

/** 2^twos as few radices up to {@linkcode mostRadix}, none smaller than it must be. */
function powersOfTwo(twos: number): number[] {
  const passes = Math.ceil(twos / Math.log2(mostRadix));
  return Array.from({ length: passes }, (_, i) => 2 ** Math.ceil((twos - i) / passes));
}

/** What planning compares: about the operations on pairs of numbers of all workgroups, of an analysis and a synthesis. */
function cost({ length, residues, radices, size, parts }: Omit<TransformPlan, "threads">): number {
  const groups = Math.floor(residues / 2) + 1 + residues;
  // A fold reads every element and adds its product with a turn; its spectrum goes through scratch.
  const fold = residues > 1 ? 4 * length + 8 * size : 0;
  const exchange = parts ? 8 : 6;
  const passes = radices.reduce((sum, r) => sum + exchange + (isStraight(r) ? r / 2 : r), 1);
  return groups * (fold + size * passes);
}

/** The divisors of n, in no order. */
export function divisors(n: number): number[] {
  const found: number[] = [];
  for (let d = 1; d * d <= n; d++) {
    if (n % d === 0) found.push(...(d * d === n ? [d] : [d, n / d]));
  }
  return found;
}

/** Every way to transform `length` that fits `bytes` of workgroup memory. */
function candidates(length: number, bytes: number): Omit<TransformPlan, "threads">[] {
  const blocks = Math.floor(bytes / 128);
  const plan = (mode: TransformPlan["mode"], residues: number, size: number) => {
    const parts = size > 16 * blocks;
    const radices = radicesOf(size);
    const padded = paddedPoints({ size, radices, parts }) <= (parts ? 32 : 16) * blocks;
    return { length, mode, residues, size, parts, padded, radices };
  };
  const plans = divisors(length).map((r) => plan("residues", r, length / r));
  if (length % 2 === 0) plans.push(plan("half", 1, length / 2));
  return plans.filter(({ size, radices }) =>
    size <= 32 * blocks && radices.every((r) => isStraight(r) || r <= mostLooped)
  );
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
  const plan = candidates(length, limits.workgroupStorageBytes)
    .reduce((a, b) => cost(b) < cost(a) ? b : a);
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(plan.size / pointsPerThread, fewestThreads)));
  return { ...plan, threads: Math.min(wanted, limits.invocations, mostThreads) };
}

/** Points from which on a transform alone in its workgroup runs better by parts: half the memory, twice the workgroups. */
const manyPoints = 2048;

/**
 * The plan for a kernel that runs it alone. Such invocations hold little in registers, so that memory says how many
 * workgroups run at a time (on an H100, with 76 KiB of it by Vulkan, this takes a fifth off the time of dW).
 */
export function alone(plan: TransformPlan): TransformPlan {
  return plan.size >= manyPoints ? { ...plan, parts: true } : plan;
}

/** Plans as transforms of one workgroup: they share its invocations and its memory. */
export function together(plans: readonly TransformPlan[]): TransformPlan[] {
  const threads = Math.max(...plans.map((plan) => plan.threads));
  const parts = plans.some((plan) => plan.parts);
  return plans.map((plan) => ({ ...plan, threads, parts }));
}

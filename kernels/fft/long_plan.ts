/**
 * How a row too long for one workgroup's memory is made of few entries: a pure value, made without a device.
 *
 * Of a row y of even length, neighbouring reals form h = length / 2 complex numbers z. An entry c e^{i a} of bin k makes
 * two points of their spectrum C, as halfSynthesis packs it: c e^{i a} (1 + i w^k) / 2 at k, and the conjugate of
 * c e^{i a} (1 - i w^k) / 2 at h - k, with w = e^{2 pi i / length}. With h = residues * size,
 *
 *     z[residue + residues * a] = SUM_j e^{2 pi i j a / size} SUM_s C[j + size s] e^{2 pi i (j + size s) residue / h},
 *
 * a transform of `size` points of each residue. A row of n entries has 2 n points that are not zero, in place of h: to sum
 * them again for every residue costs less than to transform all of the row through memory that does not hold it.
 *
 * A workgroup takes one turn of a row, `width` neighbouring residues: what they store side by side is a sector of memory.
 * Together they are a Stockham transform of `width * size` points whose first pass, of radix `width`, is that sum: it leaves
 * out the turn e^{2 pi i j lane / (width size)} of residue number `lane`, which later passes make.
 *
 * @module
 */
import type { Limits } from "../kernel.ts";
import { isStraight } from "./butterfly.ts";
import { paddedPoints } from "./layout.ts";
import { divisors, mostThreads, planTransform, radicesOf, type TransformPlan } from "./plan.ts";

/** Neighbouring residues at a time: as many pairs of numbers as a sector of 32 bytes holds. */
const width = 4;
/** More would cost more sums of entries than a transform by residues (plan.ts) costs. */
const mostResidues = 64;
/** An invocation has at least as many points: no fewer than a butterfly of most radices. */
const pointsPerThread = 8;
/** Two such workgroups run side by side on a GPU with 76 KiB of memory for them (an H100 by Vulkan). */
const mostBytes = 32768;
/** Entries of a row that memory is made for, and terms, two of an entry, that an invocation holds at most. */
const usualEntries = 1024;
const mostOfInvocation = 8;

/** A row of `length` in `turns` turns of `width` residues; see the module's documentation. */
export interface LongPlan {
  readonly length: number;
  readonly residues: number;
  readonly width: number;
  readonly turns: number;
  /** Points of a residue's transform. */
  readonly size: number;
  /** Of `width * size` points by parts; its first radix is `width`. Its twiddles are those of as many points. */
  readonly transform: TransformPlan;
  /** Entries that a row has at most. */
  readonly mostEntries: number;
}

/** Plans rows of `length`; undefined where one workgroup holds a row, and for lengths that do not factor so. */
export function planLong(length: number, limits: Limits): LongPlan | undefined {
  if (planTransform(length, limits).residues === 1 || length % 2 === 1) return undefined;
  const bytes = Math.min(limits.workgroupStorageBytes, mostBytes);
  const half = length / 2;
  const [residues] = divisors(half).filter((residues) =>
    residues % width === 0 && residues <= mostResidues && 4 * width * half / residues <= bytes &&
    radicesOf(half / residues).every(isStraight)
  ).sort((a, b) => a - b);
  if (residues === undefined || residues === half) return undefined;
  const size = half / residues;
  const points = { size: width * size, radices: [width, ...radicesOf(size)], parts: true };
  const padded = 4 * paddedPoints(points) <= bytes;
  const wanted = 2 ** Math.floor(Math.log2(points.size / pointsPerThread));
  const threads = Math.min(wanted, limits.invocations, mostThreads);
  return {
    length,
    residues,
    width,
    turns: residues / width,
    size,
    transform: { ...points, length: points.size, mode: "half", residues: 1, padded, threads },
    mostEntries: Math.min(usualEntries, limits.workgroupStorageBytes / 16, mostOfInvocation * threads / 2),
  };
}

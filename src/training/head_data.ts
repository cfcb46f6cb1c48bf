/**
 * Examples laid out for a head: sequences and their targets, in batches that depend on the step alone.
 *
 * @module
 */
import type { EncodeSequence } from "../engine/encode_inputs.ts";
import type { HeadBatch } from "./head_objective.ts";
import { shuffled } from "./shuffle.ts";

/** A sequence's rows, made when a batch has it. */
export interface LabelledSequence {
  readonly rows: number;
  readonly target: number;
  sequence(): EncodeSequence;
}

/** Training and held-out batches. */
export interface HeadSet {
  readonly training: number;
  readonly heldOut: number;
  readonly stepsPerEpoch: number;
  /** Rows of the largest batch that there may be. */
  readonly maxRows: number;
  /** Sequences of a step from 0 on, in an order that is another each epoch. */
  batch(step: number): HeadBatch;
  /** In the data's order; the last batch may be shorter. */
  heldOutBatches(): Iterable<HeadBatch>;
}

/** Which of so many examples are trained on and which held out, both in their order; at least one each. */
export function divided(
  count: number,
  { fraction, seed }: { readonly fraction: number; readonly seed: number },
): { readonly training: readonly number[]; readonly heldOut: readonly number[] } {
  if (count < 2) throw new RangeError("Cannot hold out examples: the data is one example");
  const wanted = Math.min(count - 1, Math.max(1, Math.round(fraction * count)));
  const isHeldOut = new Set(shuffled(count, { seed, round: -1 }).subarray(0, wanted));
  const all = Array.from({ length: count }, (_, i) => i);
  return { training: all.filter((i) => !isHeldOut.has(i)), heldOut: all.filter((i) => isHeldOut.has(i)) };
}

function batchOf(sequences: readonly LabelledSequence[]): HeadBatch {
  return {
    sequences: sequences.map((one) => one.sequence()),
    targets: sequences.map(({ target }) => target),
    targetCount: sequences.length,
  };
}

const greatestDivisor = (a: number, b: number): number => b === 0 ? a : greatestDivisor(b, a % b);

/** Rows of the longest sequences that a batch may have. */
function mostRows(sequences: readonly LabelledSequence[], batchSize: number): number {
  const lengths = sequences.map(({ rows }) => rows).sort((a, b) => b - a);
  // A batch may have the end of an epoch and the start of the next, and so a sequence twice.
  const latestStart = lengths.length - greatestDivisor(lengths.length, batchSize);
  const rounds = Math.floor((latestStart + batchSize - 1) / lengths.length) + 1;
  return lengths.flatMap((rows) => new Array<number>(rounds).fill(rows)).slice(0, batchSize)
    .reduce((sum, rows) => sum + rows, 0);
}

/** Lays sequences out. Without `shuffle` an epoch has them in their own order. */
export function headSet(
  { training, heldOut }: {
    readonly training: readonly LabelledSequence[];
    readonly heldOut: readonly LabelledSequence[];
  },
  { batchSize, seed, shuffle }: {
    readonly batchSize: number;
    readonly seed: number;
    readonly shuffle: boolean;
  },
): HeadSet {
  const count = training.length;
  let kept: { epoch: number; order: Uint32Array } | undefined;
  const indexOf = (place: number): number => {
    const epoch = Math.floor(place / count);
    if (!shuffle) return place % count;
    if (kept?.epoch !== epoch) kept = { epoch, order: shuffled(count, { seed, round: epoch }) };
    return kept.order[place % count];
  };
  return {
    training: count,
    heldOut: heldOut.length,
    stepsPerEpoch: Math.ceil(count / batchSize),
    maxRows: Math.max(mostRows(training, batchSize), heldOut.length ? mostRows(heldOut, batchSize) : 0),
    batch: (step) =>
      batchOf(Array.from({ length: batchSize }, (_, i) => training[indexOf(step * batchSize + i)])),
    *heldOutBatches() {
      for (let at = 0; at < heldOut.length; at += batchSize) yield batchOf(heldOut.slice(at, at + batchSize));
    },
  };
}

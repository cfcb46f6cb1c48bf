/**
 * Sequences laid out as the rows that a training step takes.
 *
 * @module
 */
import type { Corpus } from "./corpus.ts";
import type { Sequence } from "./packing.ts";

/** The target of a row that the loss is not on. */
export const noTarget = 0xffffffff;

/** What one step works on: `batchSize` sequences of `contextLength` rows, a token a row; every array has an entry a row. */
export interface TrainingBatch {
  /** Token ids; 0 in rows that fill up. */
  readonly tokens: Uint32Array;
  /** The token that follows each, or 0xffffffff: no loss here. */
  readonly targets: Uint32Array;
  /** Positions, from 0 on in every attention segment. */
  readonly positions: Uint32Array;
  /** The row where the row's attention segment starts. */
  readonly first: Uint32Array;
  /** The row after its attention segment. */
  readonly last: Uint32Array;
  /** How many rows have a target; may be 0 where the loss is on completions. */
  readonly targetCount: number;
}

/** A batch's shape. */
export interface BatchSizes {
  /** Sequences a batch. */
  readonly batchSize: number;
  /** Rows a sequence. */
  readonly contextLength: number;
}

/** Makes the batch whose sequence at each place 0..batchSize-1 the caller names; beyond the last one there are rows without targets. */
export type Batcher = (sequenceAt: (place: number) => number) => TrainingBatch;

type Rows = { -readonly [Name in keyof TrainingBatch]: TrainingBatch[Name] };

/** One attention segment: rows `begin` to `end`. */
function layOut({ positions, first, last }: Rows, { begin, end }: { begin: number; end: number }): void {
  first.fill(begin, begin, end);
  last.fill(end, begin, end);
  for (let row = begin; row < end; row++) positions[row] = row - begin;
}

/** A function that makes batches of a corpus's sequences. */
export function batcher(
  { corpus: { tokens, isTarget }, sequences }: { corpus: Corpus; sequences: readonly Sequence[] },
  { batchSize, contextLength }: BatchSizes,
): Batcher {
  function writeSequence(rows: Rows, sequence: Sequence, row: number): void {
    const endRow = row + contextLength;
    for (const { begin, end, limit } of sequence) {
      rows.tokens.set(tokens.subarray(begin, end), row);
      layOut(rows, { begin: row, end: row + end - begin });
      for (let next = begin + 1; next <= end; next++, row++) {
        if (next === limit || isTarget[next] === 0) continue;
        rows.targets[row] = tokens[next];
        rows.targetCount++;
      }
    }
    layOut(rows, { begin: row, end: endRow });
  }

  return (sequenceAt) => {
    const count = batchSize * contextLength;
    const rows: Rows = {
      tokens: new Uint32Array(count),
      targets: new Uint32Array(count).fill(noTarget),
      positions: new Uint32Array(count),
      first: new Uint32Array(count),
      last: new Uint32Array(count),
      targetCount: 0,
    };
    for (let place = 0; place < batchSize; place++) {
      writeSequence(rows, sequences[sequenceAt(place)] ?? [], place * contextLength);
    }
    return rows;
  };
}

/**
 * Documents into sequences of one length.
 *
 * @module
 */
import { type Corpus, startOf } from "./corpus.ts";

/**
 * How documents share sequences.
 *
 * - `concatenate`: all documents in a row, cut every `contextLength` tokens; tokens attend to whatever stands before
 *   them in their sequence. A document's end may predict the next one's start.
 * - `documents`: whole documents side by side, each attending to itself alone, best fit first. A document of more than
 *   `contextLength` tokens is cut into pieces, which attend to themselves alone, too.
 * - `none`: the same, but each document, or piece of one, has a sequence to itself, in the data's order: a step learns
 *   as many documents as it has sequences.
 */
export type Packing = "concatenate" | "documents" | "none";

/** Tokens `begin` to `end` of a corpus, which attend to each other; the last predicts token `end` if that is below `limit`. */
export interface Piece {
  readonly begin: number;
  readonly end: number;
  readonly limit: number;
}

/** What stands in one sequence: at most `contextLength` tokens in all. */
export type Sequence = readonly Piece[];

/** Tokens `begin` to `limit` in pieces; one that has nothing to predict is left out. */
function cut(begin: number, limit: number, contextLength: number): Piece[] {
  const pieces: Piece[] = [];
  for (; begin + 1 < limit; begin += contextLength) {
    pieces.push({ begin, end: Math.min(begin + contextLength, limit), limit });
  }
  return pieces;
}

/** The longest piece first, each into the sequence where the least room is left that holds it. */
function bestFit(pieces: readonly Piece[], contextLength: number): Sequence[] {
  const sequences: Piece[][] = [];
  const withRoom: Piece[][][] = Array.from({ length: contextLength + 1 }, () => []);
  const length = ({ begin, end }: Piece): number => end - begin;
  for (const piece of pieces.toSorted((a, b) => length(b) - length(a) || a.begin - b.begin)) {
    let room = length(piece);
    while (room < contextLength && withRoom[room].length === 0) room++;
    let sequence = withRoom[room].pop();
    if (!sequence) sequences.push(sequence = []);
    sequence.push(piece);
    withRoom[room - length(piece)].push(sequence);
  }
  return sequences;
}

/** Every token of the corpus is in one sequence, or what its last token but one predicts. */
export function pack(
  corpus: Corpus,
  { packing, contextLength }: { packing: Packing; contextLength: number },
): Sequence[] {
  if (packing === "concatenate") return cut(0, corpus.tokens.length, contextLength).map((piece) => [piece]);
  const pieces = corpus.ends.flatMap((end, document) => cut(startOf(corpus, document), end, contextLength));
  return packing === "none" ? pieces.map((piece) => [piece]) : bestFit(pieces, contextLength);
}

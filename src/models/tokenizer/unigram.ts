/**
 * Unigram: the cut of a word whose pieces have the greatest sum of scores.
 *
 * @module
 */
import { byteTokens, utf8 } from "./characters.ts";
import { type Fields, flag, list, refuse } from "./fields.ts";
import type { Model } from "./model.ts";
import { stepSize } from "./steps.ts";

interface Node {
  readonly next: Map<number, Node>;
  /** Of the piece that ends here. */
  id: number;
}

/** What an unknown character costs beside the least likely piece. */
const unknownPenalty = 10;

interface Table {
  readonly vocabulary: Map<string, number>;
  readonly scores: readonly number[];
  readonly root: Node;
}

function read(fields: Fields): Table {
  const vocabulary = new Map<string, number>();
  const root: Node = { next: new Map(), id: -1 };
  const scores = list(fields, "vocab").map((entry, id) => {
    const [piece, score] = Array.isArray(entry) ? entry as unknown[] : [];
    if (typeof piece !== "string" || typeof score !== "number") {
      throw refuse("vocab", entry, "it must be a list of pieces with scores");
    }
    vocabulary.set(piece, id);
    let node = root;
    for (let i = 0; i < piece.length; i++) {
      const unit = piece.charCodeAt(i);
      let next = node.next.get(unit);
      if (!next) node.next.set(unit, next = { next: new Map(), id: -1 });
      node = next;
    }
    node.id = id;
    return score;
  });
  return { vocabulary, scores, root };
}

/** The best way to each place of a word: where its last piece starts, and its id. */
interface Ways {
  /** One more, so that 0 is a place that no way leads to. */
  readonly starts: Int32Array;
  readonly ids: Int32Array;
}

export function unigram(fields: Fields): Model {
  const { vocabulary, scores, root } = read(fields);
  const unknown = fields.unk_id ?? undefined;
  if (unknown !== undefined && !(Number.isInteger(unknown) && (unknown as number) in scores)) {
    throw refuse("unk_id", unknown, "it must be a place in the vocabulary");
  }
  const unknownId = unknown as number | undefined;
  const unknownScore = scores.reduce((least, score) => Math.min(least, score), Infinity) - unknownPenalty;
  const bytes = flag(fields, "byte_fallback", false)
    ? byteTokens.map((token) => vocabulary.get(token))
    : undefined;

  function* waysOf(word: string): Generator<undefined, Ways, void> {
    const size = word.length;
    const starts = new Int32Array(size + 1);
    const ids = new Int32Array(size + 1);
    const best = new Float64Array(size + 1);
    const offer = (way: { start: number; end: number; id: number }, score: number): void => {
      const { start, end, id } = way;
      // Of equal sums the first counts: the one whose last piece is longest.
      if (starts[end] > 0 && best[start] + score <= best[end]) return;
      starts[end] = start + 1;
      ids[end] = id;
      best[end] = best[start] + score;
    };
    for (let start = 0; start < size;) {
      const width = word.codePointAt(start)! > 0xffff ? 2 : 1;
      let single = false;
      let node = root.next.get(word.charCodeAt(start));
      for (let end = start + 1; node; node = node.next.get(word.charCodeAt(end++))) {
        if (node.id < 0) continue;
        offer({ start, end, id: node.id }, scores[node.id]);
        single ||= end - start === width;
      }
      if (!single) {
        if (unknownId === undefined) {
          throw refuse("unk_id", undefined, "a character is unknown, and there is no token for such");
        }
        offer({ start, end: start + width, id: unknownId }, unknownScore);
      }
      const next = start + width;
      if (Math.floor(next / 1024) > Math.floor(start / 1024)) yield;
      start = next;
    }
    return { starts, ids };
  }

  /** The ids of a stretch that is unknown as a whole. */
  const unknownIds = (text: string): readonly number[] => {
    const id = vocabulary.get(text);
    if (id !== undefined) return [id];
    if (bytes) {
      const found = Array.from(utf8(text), (byte) => bytes[byte]);
      if (found.every((one) => one !== undefined)) return found as number[];
    }
    return [unknownId!];
  };

  return {
    vocabulary,
    covers: bytes?.every((id) => id !== undefined) ? "all" : "some",
    *steps(word) {
      const { starts, ids } = yield* waysOf(word);
      const back: number[] = [];
      for (let end = word.length, done = 1; end > 0; done++) {
        let start = starts[end] - 1;
        if (ids[end] !== unknownId) {
          back.push(ids[end]);
        } else {
          // Neighbouring unknown characters are one.
          while (start > 0 && ids[start] === unknownId) {
            start = starts[start] - 1;
            if (++done % stepSize === 0) yield;
          }
          for (const id of unknownIds(word.slice(start, end)).toReversed()) back.push(id);
        }
        end = start;
        if (done % stepSize === 0) yield;
      }
      return back.reverse();
    },
  };
}

/**
 * Runs of characters of one kind, which a tokenizer takes for a word.
 *
 * A regular expression goes through a word in one call. A million letters take about 25 ms, and no other request has a
 * turn meanwhile; four million overflow V8's stack. Slices of a word have other tokens, so such a text is refused.
 *
 * @module
 */
import { breathe } from "../breathe.ts";

/** Characters (UTF-16 units) that are looked at together, about. */
const sliceSize = 1 << 14;

/** Slices that a run may fill: 2^20 characters. */
const mostSlices = 64;

/** Characters that a run always may have. */
export const longestRun = sliceSize * mostSlices;

/** Slices after which others have their turn: some milliseconds at most. */
const slicesATurn = 16;

/** What words are made of in the tokenizers that there are; a mark goes with letters, and with other signs. */
const kinds = [/^[\p{L}\p{M}]+$/u, /^\p{N}+$/u, /^\s+$/u, /^[^\p{L}\p{N}\s]+$/u];

const everyKind = (1 << kinds.length) - 1;

/** A bit for each kind that all characters of a text are of. */
const kindsOf = (text: string): number =>
  kinds.reduce((bits, kind, i) => bits | (kind.test(text) ? 1 << i : 0), 0);

/** Whether a text has a run that is longer than {@linkcode longestRun}; a run that is longer by less than three slices may pass. */
export async function hasLongRun(text: string): Promise<boolean> {
  if (text.length <= longestRun) return false;
  let run = 0, shared = everyKind, seen = 0;
  for (let from = 0; from < text.length;) {
    // Not amid a surrogate pair.
    let to = Math.min(text.length, from + sliceSize);
    if (to < text.length && (text.codePointAt(to - 1) ?? 0) > 0xffff) to++;
    const found = kindsOf(text.slice(from, to));
    const both = shared & found;
    run = found === 0 ? 0 : both === 0 ? 1 : run + 1;
    shared = found === 0 ? everyKind : both || found;
    if (run > mostSlices) return true;
    from = to;
    if (++seen % slicesATurn === 0) await breathe();
  }
  return false;
}

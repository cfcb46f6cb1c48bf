/**
 * A tokenizer's vocabulary as the grammar engine reads it.
 *
 * @module
 */
import { breathe } from "../breathe.ts";
import { GrammarError } from "../errors.ts";
import type { Tokenizer } from "../models/tokenizer_types.ts";

/** GPT-2's letters of bytes: printable ones stand for themselves, the others are letters from 256 on, in order. */
const letters: readonly string[] = (() => {
  const isShown = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let others = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isShown(byte) ? byte : 256 + others++));
})();

/** Time after which others have their turn. */
const turnMs = 5;

/** A token of one letter: what follows it is no start of a text. */
function anchorOf(decodeBytes: NonNullable<Tokenizer["decodeBytes"]>, vocabSize: number): number {
  for (let id = 0; id < vocabSize; id++) {
    const bytes = decodeBytes([id]);
    if (bytes.length === 1 && /[a-z]/i.test(String.fromCharCode(bytes[0]))) return id;
  }
  throw new GrammarError("Cannot follow grammars with this model: its vocabulary has no token of one letter");
}

/**
 * Each token's bytes amid a text, a letter of GPT-2's alphabet for each; empty for special tokens and for ids that the
 * tokenizer does not know.
 *
 * @param vocabSize Logits of the model.
 * @throws GrammarError for a tokenizer that knows no bytes.
 */
export async function vocabularyOf(
  { decodeBytes, decodesEachAlone }: Tokenizer,
  vocabSize: number,
): Promise<readonly string[]> {
  if (!decodeBytes) {
    throw new GrammarError("Cannot follow grammars with this model: its tokenizer knows no bytes");
  }
  const anchor = decodesEachAlone ? [] : [anchorOf(decodeBytes, vocabSize)];
  const before = anchor.length === 0 ? 0 : decodeBytes(anchor).length;
  const tokens: string[] = [];
  let turn = performance.now();
  for (let id = 0; id < vocabSize; id++) {
    const bytes = decodeBytes([...anchor, id]);
    let token = "";
    for (let i = before; i < bytes.length; i++) token += letters[bytes[i]];
    tokens.push(token);
    if (performance.now() - turn < turnMs) continue;
    await breathe();
    turn = performance.now();
  }
  return tokens;
}

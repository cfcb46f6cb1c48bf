/**
 * What turns words into tokens: one of four models.
 *
 * @module
 */
import { bpe } from "./bpe.ts";
import { byType, type Fields } from "./fields.ts";
import type { Steps } from "./steps.ts";
import { unigram } from "./unigram.ts";
import { wordLevel, wordPiece } from "./word_models.ts";

/** Words to token ids. */
export interface Model {
  readonly vocabulary: ReadonlyMap<string, number>;
  /** The token ids of a word, which is not empty. */
  steps(word: string): Steps<readonly number[]>;
  /**
   * Which characters are part of a token's own text, or a token each: none of these vanishes, or is one of many in an
   * unknown token. `bytes` are the 256 characters that stand for bytes.
   */
  readonly covers: "all" | "bytes" | "some";
}

/**
 * The model that tokenizer.json describes; older files do not name its type.
 *
 * @throws ConfigError that names the field and the rule it breaks.
 */
export function modelOf(fields: Fields): Model {
  const type = fields.type ??
    (Array.isArray(fields.vocab)
      ? "Unigram"
      : "merges" in fields
      ? "BPE"
      : "continuing_subword_prefix" in fields
      ? "WordPiece"
      : "WordLevel");
  return byType(
    { ...fields, type },
    { BPE: bpe, Unigram: unigram, WordPiece: wordPiece, WordLevel: wordLevel },
    "model",
  );
}

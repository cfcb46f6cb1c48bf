/**
 * Byte-pair encoding: the pair that was merged first in training is merged first, of equal ones the leftmost.
 *
 * @module
 */
import { byteCharacters, byteTokens, utf8 } from "./characters.ts";
import { type Fields, flag, list, refuse, text as textField, vocabulary as vocabularyOf } from "./fields.ts";
import { type Merges, mergesOf, mergeSymbols } from "./merges.ts";
import type { Model } from "./model.ts";
import { type Steps, stepSize } from "./steps.ts";

/** Pairs of tokens, in the order in which they are merged; each a list of two or a text with a space between. */
function pairsOf(fields: Fields): readonly (readonly [string, string])[] {
  return list(fields, "merges").map((entry) => {
    const pair: unknown = typeof entry === "string" ? entry.split(" ") : entry;
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every((part) => typeof part === "string")) {
      throw refuse("merges", entry, "it must be two tokens");
    }
    return pair as [string, string];
  });
}

/** A list of ids that grows. */
class Ids {
  #ids = new Int32Array(64);
  #count = 0;

  push(id: number): void {
    if (this.#count === this.#ids.length) {
      const wider = new Int32Array(4 * this.#count);
      wider.set(this.#ids);
      this.#ids = wider;
    }
    this.#ids[this.#count++] = id;
  }

  all(): Int32Array {
    return this.#ids.subarray(0, this.#count);
  }
}

/** A word's characters as tokens, before any merge. */
class Symbols {
  readonly #prefix: string;
  readonly #suffix: string;
  readonly #unknown: number | undefined;
  readonly #fuses: boolean;
  readonly #bytes: readonly (number | undefined)[] | undefined;
  /** Which characters are at least one token each. */
  readonly covers: Model["covers"];

  constructor(private readonly vocabulary: ReadonlyMap<string, number>, fields: Fields) {
    this.#prefix = textField(fields, "continuing_subword_prefix", "");
    this.#suffix = textField(fields, "end_of_word_suffix", "");
    this.#fuses = flag(fields, "fuse_unk", false);
    const unknown = textField(fields, "unk_token", "");
    this.#unknown = unknown === "" ? undefined : vocabulary.get(unknown);
    if (unknown !== "" && this.#unknown === undefined) {
      throw refuse("unk_token", unknown, "the vocabulary does not have it");
    }
    this.#bytes = flag(fields, "byte_fallback", false)
      ? byteTokens.map((token) => vocabulary.get(token))
      : undefined;
    const allBytes = this.#bytes?.every((id) => id !== undefined) ?? false;
    const unfused = this.#unknown !== undefined && !this.#fuses;
    const byteLevel = byteCharacters.every((character) => vocabulary.has(character));
    const plain = this.#prefix === "" && this.#suffix === "";
    this.covers = plain && (allBytes || unfused) ? "all" : plain && byteLevel ? "bytes" : "some";
  }

  /** The tokens of a word. */
  *of(word: string): Steps<Int32Array> {
    const ids = new Ids();
    let unknowns = 0;
    let at = 0;
    let pauseAt = stepSize;
    for (const character of word) {
      const prefixed = at === 0 ? character : this.#prefix + character;
      at += character.length;
      const symbol = at === word.length ? prefixed + this.#suffix : prefixed;
      const id = this.vocabulary.get(symbol);
      const bytes = id === undefined ? this.#bytesOf(symbol) : undefined;
      if (id !== undefined) {
        if (unknowns > 0) ids.push(this.#unknown!);
        unknowns = 0;
        ids.push(id);
      } else if (bytes) {
        // Bytes do not end a run of unknown characters: its token comes after them, as in the Python library.
        for (const byte of bytes) ids.push(byte);
      } else if (this.#unknown !== undefined) {
        if (unknowns > 0 && !this.#fuses) ids.push(this.#unknown);
        unknowns++;
      }
      if (at >= pauseAt) {
        pauseAt += stepSize;
        yield;
      }
    }
    if (unknowns > 0) ids.push(this.#unknown!);
    return ids.all();
  }

  #bytesOf(symbol: string): number[] | undefined {
    if (!this.#bytes) return undefined;
    const ids: number[] = [];
    for (const byte of utf8(symbol)) {
      const id = this.#bytes[byte];
      if (id === undefined) return undefined;
      ids.push(id);
    }
    return ids;
  }
}

export function bpe(fields: Fields): Model {
  if (fields.dropout !== undefined && fields.dropout !== null && fields.dropout !== 0) {
    throw refuse(
      "dropout",
      fields.dropout,
      "a tokenizer that cuts one text in several ways cannot be followed",
    );
  }
  const vocabulary = vocabularyOf(fields);
  const symbols = new Symbols(vocabulary, fields);
  const merges: Merges = mergesOf(pairsOf(fields), {
    vocabulary,
    prefixLength: textField(fields, "continuing_subword_prefix", "").length,
  });
  // The longest word that can be a token as a whole; none where merges are never left out.
  let wholeLength = -1;
  if (flag(fields, "ignore_merges", false)) {
    for (const token of vocabulary.keys()) wholeLength = Math.max(wholeLength, token.length);
  }

  return {
    vocabulary,
    covers: symbols.covers,
    *steps(word) {
      const whole = word.length <= wholeLength ? vocabulary.get(word) : undefined;
      if (whole !== undefined) return [whole];
      return yield* mergeSymbols(yield* symbols.of(word), merges);
    },
  };
}

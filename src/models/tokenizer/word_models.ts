/**
 * WordPiece, and words as they are.
 *
 * @module
 */
import { count, type Fields, refuse, text as textField, vocabulary as vocabularyOf } from "./fields.ts";
import type { Model } from "./model.ts";

function unknownId(fields: Fields, vocabulary: ReadonlyMap<string, number>): number {
  const token = textField(fields, "unk_token");
  const id = vocabulary.get(token);
  if (id === undefined) throw refuse("unk_token", token, "the vocabulary does not have it");
  return id;
}

/** The longest piece first; a word with an unknown rest is unknown as a whole. */
export function wordPiece(fields: Fields): Model {
  const vocabulary = vocabularyOf(fields);
  const unknown = [unknownId(fields, vocabulary)];
  const prefix = textField(fields, "continuing_subword_prefix", "##");
  const longest = count(fields, "max_input_chars_per_word", 100);
  return {
    vocabulary,
    covers: "some",
    *steps(word) {
      // A longer word is unknown however it goes on, so the rest is not looked at.
      const characters = [...word.slice(0, 2 * longest + 2)];
      if (characters.length > longest) return unknown;
      const ids: number[] = [];
      for (let start = 0; start < characters.length;) {
        let end = characters.length;
        let id: number | undefined;
        for (; end > start && id === undefined; end--) {
          const piece = characters.slice(start, end).join("");
          id = vocabulary.get(start > 0 ? prefix + piece : piece);
        }
        if (id === undefined) return unknown;
        ids.push(id);
        start = end + 1;
        yield;
      }
      return ids;
    },
  };
}

/** Each word a token, or unknown. */
export function wordLevel(fields: Fields): Model {
  const vocabulary = vocabularyOf(fields);
  const unknown = unknownId(fields, vocabulary);
  return {
    vocabulary,
    covers: "some",
    // deno-lint-ignore require-yield
    *steps(word) {
      return [vocabulary.get(word) ?? unknown];
    },
  };
}

/**
 * How often long work on a text stops to let other work have its turn: counted, for each step from text to ids.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { TokenFinder } from "../src/models/tokenizer/added_tokens.ts";
import { Encoder } from "../src/models/tokenizer/encoder.ts";
import { modelOf } from "../src/models/tokenizer/model.ts";
import { normalizerOf } from "../src/models/tokenizer/normalizers.ts";
import { preTokenizerOf } from "../src/models/tokenizer/pre_tokenizers.ts";
import { stepSize } from "../src/models/tokenizer/steps.ts";

type Fields = Readonly<Record<string, unknown>>;

const steps = 16, units = steps * stepSize;
const long = (text: string) => ({ text: text.repeat(units / text.length), first: true });

const normalized = (text: string, fields: Fields) => () => normalizerOf(fields).steps(long(text));
const split = (text: string, fields: Fields) => () => preTokenizerOf(fields).words(long(text));
const modelled = (text: string, fields: Fields) => () => modelOf(fields).steps(long(text).text);
const cut = (behavior: string): Fields => ({
  type: "Split",
  pattern: { String: "a" },
  behavior,
  invert: false,
});
const bpe = (tokens: readonly string[], merges: readonly string[] = []): Fields => ({
  type: "BPE",
  vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
  merges,
});
const encoded = (text: string, fields: Fields) => () => new Encoder(fields).steps(long(text).text, false);

/** Work on a text, and how often it pauses: by characters, stretches, words, merges or tokens that it goes through. */
const work: readonly (readonly [string, () => Iterable<unknown>, number])[] = [
  ["a normalizer", normalized("a", { type: "Lowercase" }), steps],
  ["one that finds no place to cut", normalized("\u0301", { type: "Lowercase" }), 2 * steps],
  [
    "replacements",
    normalized("ab", { type: "Replace", pattern: { String: "ab" }, content: "x" }),
    units / 2 / 1024,
  ],
  ["words", split("a", cut("Isolated")), units / 1024],
  ["stretches that are joined", split("a", cut("Contiguous")), units / 1024],
  ["stretches that are dropped", split("a", cut("Removed")), units / 1024],
  ["bytes", split("a", { type: "ByteLevel", add_prefix_space: false, use_regex: false }), steps],
  ["marked spaces", split("a", { type: "Metaspace", replacement: "_", split: false }), steps],
  ["a search for tokens", () => new TokenFinder([]).parts(long("a").text), steps],
  ["characters that nothing joins", modelled("a", bpe(["a"])), steps + units / 1024],
  ["few that merge", modelled("ab", bpe(["a", "b", "ab"], ["a b"])), 2 * steps + units / 1024],
  // Characters, their neighbours and offers; a merge of two each; then half as many tokens.
  [
    "many that merge",
    modelled("a", bpe(["a", "aa"], ["a a"])),
    3 * steps + units / 2048 + steps / 2,
  ],
  ["pieces", modelled("a", { type: "Unigram", vocab: [["a", -1]] }), units / 1024 + steps],
  ["unknown pieces", modelled("b", { type: "Unigram", vocab: [["a", -1]], unk_id: 0 }), units / 1024 + steps],
  ["a word of many tokens", encoded("a", { model: bpe(["a"]) }), 4 * steps + units / 1024],
  [
    "many words",
    encoded("a ", {
      model: { type: "WordLevel", vocab: { a: 0 }, unk_token: "a" },
      pre_tokenizer: { type: "WhitespaceSplit" },
    }),
    2 * steps + units / 1024 + units / 2 / 128,
  ],
];

for (const [name, made, expected] of work) {
  test(`long work pauses about once a step: ${name}`, () => {
    let pauses = 0;
    for (const one of made()) if (one === undefined) pauses++;
    // Less than a pause a step of any one pass may be there or not.
    assert.ok(Math.abs(pauses - expected) <= steps / 4, `${pauses} pauses, expected about ${expected}`);
  });
}

/**
 * What tokenizer.json means for texts where a field is absent, empty or at a bound, each by few tokens.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openTokenizer } from "../src/models/tokenizer.ts";
import type { Tokenizer } from "../src/models/tokenizer_types.ts";

type Fields = Readonly<Record<string, unknown>>;

function open(fields: Fields): Promise<Tokenizer> {
  return openTokenizer({
    exists: (name) => Promise.resolve(name === "tokenizer.json"),
    readText: () => Promise.resolve(JSON.stringify(fields)),
  });
}

const numbered = (tokens: readonly string[]): Record<string, number> =>
  Object.fromEntries(tokens.map((token, id) => [token, id]));
const bpe = (tokens: readonly string[], more: Fields = {}): Fields => ({
  type: "BPE",
  vocab: numbered(tokens),
  merges: [],
  ...more,
});
/** Each word a token; others are "?". */
const words = (tokens: readonly string[]): Fields => ({
  type: "WordLevel",
  vocab: numbered(["?", ...tokens]),
  unk_token: "?",
});
const bytes = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);
const scored = (...pieces: readonly (string | readonly [string, number])[]) =>
  pieces.map((piece) => typeof piece === "string" ? [piece, -1] : piece);
const unigram = (vocab: unknown, more: Fields = {}): Fields => ({ type: "Unigram", vocab, ...more });
const split = (pattern: Fields, behavior = "Isolated"): Fields => ({
  type: "Split",
  pattern,
  behavior,
  invert: false,
});
const sequence = (...pretokenizers: readonly Fields[]): Fields => ({ type: "Sequence", pretokenizers });

/** Tokenizers, texts, and their tokens. */
const encoded: readonly (readonly [string, Fields, string, readonly number[]])[] = [
  ["BPE merges a pair in its order alone", { model: bpe(["a", "b", "ab"], { merges: ["a b"] }) }, "ba", [
    1,
    0,
  ]],
  ["BPE takes a whole word as merges make it", { model: bpe(["a", "b", "ab"]) }, "ab", [0, 1]],
  [
    "BPE with ignore_merges takes it from the vocabulary",
    {
      model: bpe(["a", "b", "ab"], { ignore_merges: true }),
    },
    "ab",
    [2],
  ],
  ["BPE without fuse_unk counts unknown characters", { model: bpe(["?", "a"], { unk_token: "?" }) }, "éña", [
    0,
    0,
    1,
  ]],
  [
    "BPE falls back to bytes only where all are there",
    {
      model: bpe(["?", "<0xC3>"], { unk_token: "?", byte_fallback: true }),
    },
    "é",
    [0],
  ],
  ["BPE takes a dropout of 0 for none", { model: bpe(["a"], { dropout: 0 }) }, "a", [0]],
  [
    "Unigram takes the longest last piece of equal sums",
    {
      model: unigram(scored("a", "b", ["ab", -2])),
    },
    "ab",
    [2],
  ],
  [
    "Unigram takes an unknown character before a likelier piece",
    {
      model: unigram(scored(["ab", -9], "?", ["bc", -1]), { unk_id: 1 }),
    },
    "abc",
    [1, 2],
  ],
  [
    "Unigram knows the last character of one unit",
    {
      model: unigram(scored("?", "\uffff", "a"), { unk_id: 0 }),
    },
    "\uffffa",
    [1, 2],
  ],
  [
    "Unigram knows a character of two units, and needs no unknown token for such",
    {
      model: unigram(scored("😀", "a")),
    },
    "😀a",
    [0, 1],
  ],
  [
    "Unigram without byte_fallback leaves bytes alone",
    {
      model: unigram(scored("?", ...bytes), { unk_id: 0 }),
    },
    "a",
    [0],
  ],
  [
    "Unigram falls back to bytes",
    {
      model: unigram(scored("?", ...bytes), { unk_id: 0, byte_fallback: true }),
    },
    "é",
    [1 + 0xc3, 1 + 0xa9],
  ],
  [
    "Unigram takes the unknown token's own text for it, and not for bytes",
    {
      model: unigram(scored("<unk>", ...bytes), { unk_id: 0, byte_fallback: true }),
    },
    "<unk>",
    [0],
  ],
  [
    "Unigram falls back to bytes only where all are there",
    {
      model: unigram(scored("?", "<0xC3>"), { unk_id: 0, byte_fallback: true }),
    },
    "é",
    [0],
  ],
  [
    "WordPiece counts characters and not units",
    {
      model: {
        type: "WordPiece",
        vocab: { "?": 0, "😀": 1, "##😀": 2 },
        unk_token: "?",
        max_input_chars_per_word: 2,
      },
    },
    "😀😀",
    [1, 2],
  ],
  [
    "WordPiece does not know longer words",
    {
      model: {
        type: "WordPiece",
        vocab: { "?": 0, "😀": 1, "##😀": 2 },
        unk_token: "?",
        max_input_chars_per_word: 2,
      },
    },
    "😀😀😀",
    [0],
  ],
  [
    "an added token is found amid a word",
    {
      model: bpe(["a", " "]),
      added_tokens: [{ content: "<x>" }],
    },
    "a<x>a",
    [0, 2, 0],
  ],
  [
    "and leaves the spaces beside it",
    {
      model: bpe(["a", " "]),
      added_tokens: [{ content: "<x>" }],
    },
    "a <x> a",
    [0, 1, 2, 1, 0],
  ],
  [
    "an empty added token is none",
    {
      model: bpe(["a"]),
      added_tokens: [{ content: "" }, { content: "<x>" }],
    },
    "<x>a",
    [1, 0],
  ],
  [
    "a special token goes before another of the same normalized text",
    {
      model: bpe(["a"]),
      normalizer: { type: "Lowercase" },
      added_tokens: [{ content: "XY" }, { content: "xy", special: true, normalized: true }],
    },
    "xY",
    [2],
  ],
  [
    "an added token that is not special is normalized",
    {
      model: bpe(["a"]),
      normalizer: { type: "Lowercase" },
      added_tokens: [{ content: "XY" }],
    },
    "xY",
    [1],
  ],
  [
    "a special one is not",
    {
      model: bpe(["x", "y"]),
      normalizer: { type: "Lowercase" },
      added_tokens: [{ content: "XY", special: true }],
    },
    "xYXY",
    [0, 1, 2],
  ],
  [
    "BertNormalizer without fields cleans, lowers, strips accents and spaces Chinese",
    {
      model: bpe(["a", " ", "中", "e", "?"], { unk_token: "?" }),
      normalizer: { type: "BertNormalizer" },
    },
    "A\u0000中É",
    [0, 1, 2, 1, 3],
  ],
  [
    "Metaspace splits at its marks",
    {
      model: words(["▁a"]),
      pre_tokenizer: { type: "Metaspace", replacement: "▁" },
    },
    "a a",
    [1, 1],
  ],
  [
    "Metaspace that is told not to split marks alone",
    {
      model: words(["▁a▁a"]),
      pre_tokenizer: { type: "Metaspace", replacement: "▁", split: false },
    },
    "a a",
    [1],
  ],
  [
    "an empty pattern is found nowhere",
    {
      model: words(["ab"]),
      pre_tokenizer: split({ String: "" }),
    },
    "ab",
    [1],
  ],
  [
    "empty matches cut between characters, and make no words",
    {
      model: words(["a", "😀", "b"]),
      pre_tokenizer: split({ Regex: "x*" }),
    },
    "a😀b",
    [1, 2, 3],
  ],
  [
    "a pattern may have groups with names and without",
    {
      model: words(["a", "-=="]),
      pre_tokenizer: split({ Regex: "(?<dash>-)(=)\\2" }),
    },
    "a-==a",
    [1, 2, 1],
  ],
  [
    "BertPreTokenizer drops spaces and cuts at punctuation",
    {
      model: words(["a", "!"]),
      pre_tokenizer: { type: "BertPreTokenizer" },
    },
    " a! ".repeat(1500),
    Array.from({ length: 3000 }, (_, i) => 1 + i % 2),
  ],
];

for (const [name, fields, text, ids] of encoded) {
  test(`encode(): ${name}`, async () => {
    const tokenizer = await open(fields);
    assert.deepEqual(tokenizer.encode(text), ids);
    assert.deepEqual(await tokenizer.encodeAsync(text), ids);
  });
}

test("Metaspace by its scheme first marks no word after what another step took away", async () => {
  const tokens = ["▁a", "a"];
  const metaspace = { type: "Metaspace", replacement: "▁", prepend_scheme: "first" };
  const removed = split({ String: "-" }, "Removed");
  const steps: readonly Fields[] = [
    split({ String: "+" }),
    { type: "FixedLength", length: 1 },
    { type: "ByteLevel", add_prefix_space: false },
    { type: "ByteLevel", add_prefix_space: false, use_regex: false },
    { type: "Digits", individual_digits: false },
  ];
  for (const step of steps) {
    const { encode } = await open({
      model: words(tokens),
      pre_tokenizer: sequence(removed, step, metaspace),
    });
    assert.deepEqual(encode("a"), [1], JSON.stringify(step));
    assert.deepEqual(encode("-a"), [2], JSON.stringify(step));
    assert.deepEqual(encode("a-a"), [1, 2], JSON.stringify(step));
  }
});

test("fewestTokens() knows which pre-tokenizers leave characters out", async () => {
  const model = bpe(["?"], { unk_token: "?" });
  const bound = async (pre_tokenizer: Fields) => (await open({ model, pre_tokenizer })).fewestTokens("aaaa");
  const behaviors = ["Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];
  for (const behavior of behaviors) assert.equal(await bound(split({ String: "a" }, behavior)), 2, behavior);
  assert.equal(await bound(split({ String: "a" }, "Removed")), 0);
  for (const type of ["BertPreTokenizer", "Whitespace", "WhitespaceSplit"]) {
    assert.equal(await bound({ type }), 0, type);
  }
  assert.equal(await bound({ type: "CharDelimiterSplit", delimiter: "-" }), 0);
  assert.equal(await bound({ type: "FixedLength", length: 2 }), 2);
  assert.equal(await bound({ type: "Punctuation" }), 2);
  assert.equal(await bound({ type: "Metaspace", replacement: "▁" }), 2);
  assert.equal(await bound(sequence({ type: "Punctuation" }, { type: "Whitespace" })), 0);
  assert.equal(
    await bound(sequence({ type: "Punctuation" }, { type: "Digits", individual_digits: false })),
    2,
  );
});

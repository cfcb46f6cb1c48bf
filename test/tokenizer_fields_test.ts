/**
 * What a tokenizer.json's decoder makes of few tokens, and which fields are refused.
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
/** Decoders, tokens, and their text. */
const decoded: readonly (readonly [string, Fields, readonly string[], string])[] = [
  [
    "ByteFallback keeps a byte-order mark",
    { type: "ByteFallback" },
    ["<0xEF>", "<0xBB>", "<0xBF>"],
    "\ufeff",
  ],
  ["ByteLevel keeps a byte-order mark", { type: "ByteLevel" }, ["ï»¿"], "\ufeff"],
  ["ByteFallback takes whole tokens for bytes", { type: "ByteFallback" }, [
    "<0x41>",
    "<0x41>b",
    "b<0x41>",
  ], "A<0x41>bb<0x41>"],
  ["WordPiece tidies unless told not to", { type: "WordPiece" }, ["a", "##b", "."], "ab."],
  ["WordPiece that is told not to", { type: "WordPiece", cleanup: false }, ["a", "##b", "."], "ab ."],
  ["WordPiece without a prefix joins by spaces", { type: "WordPiece", prefix: "" }, ["a", "b"], "a b"],
  ["CTC tidies unless told not to", { type: "CTC" }, ["a", "<pad>", "a", "|", "b"], "aa b"],
  ["CTC that is told not to", { type: "CTC", cleanup: false }, ["a", "a", "|", "b"], "a|b"],
];

for (const [name, decoder, tokens, text] of decoded) {
  test(`decode(): ${name}`, async () => {
    const distinct = [...new Set(tokens)];
    const { decode } = await open({ model: bpe(distinct), decoder });
    assert.equal(decode(tokens.map((token) => distinct.indexOf(token))), text);
  });
}

test("decodeBytes() gives characters at both ends of the surrogates their own bytes", async () => {
  const tokens = ["\ud7ff", "\ue000", "\uff21", "<0xC3>"];
  const { decodeBytes } = await open({ model: bpe(tokens), decoder: { type: "ByteFallback" } });
  const utf8 = (text: string): number[] => [...new TextEncoder().encode(text)];
  for (const [id, token] of tokens.slice(0, 3).entries()) {
    assert.deepEqual([...decodeBytes!([id])], utf8(token));
    assert.deepEqual([...decodeBytes!([3, id, 3])], [0xc3, ...utf8(token), 0xc3]);
  }
});

test("decodesEachAlone is true of bytes alone, whose ids joined have the bytes of each", async () => {
  const tokens = ["a", "Ġb", "ĠĠ", "Ã", "©", "Ã©", "\ud83d\ude00", "ï»¿"];
  const opened = (decoder?: Fields): Promise<Tokenizer> => open({ model: bpe(tokens), decoder });
  const { decodeBytes, decodesEachAlone } = await opened({ type: "ByteLevel" });
  assert.equal(decodesEachAlone, true);
  for (const first of tokens.keys()) {
    for (const second of tokens.keys()) {
      const both = [first, second].flatMap((id) => [...decodeBytes!([id])]);
      assert.deepEqual([...decodeBytes!([first, second])], both);
    }
  }
  const sequence = { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] };
  const others = [undefined, { type: "Metaspace", replacement: "▁" }, { type: "WordPiece" }, sequence];
  for (const decoder of others) assert.equal((await opened(decoder)).decodesEachAlone, false);
});

/** What is refused, and why. */
const refused: readonly (readonly [string, Fields, RegExp])[] = [
  [
    "an id past those that merges can count",
    { model: { ...bpe([]), vocab: { a: 2 ** 26 } } },
    /must be below/,
  ],
  ["an id past 31 bits", {
    model: { ...words([]), vocab: { "?": 2 ** 31 } },
  }, /field "vocab" = .*a token's id must be a whole number/],
  ["a dropout", { model: bpe(["a"], { dropout: 0.1 }) }, /field "dropout" = 0.1/],
  [
    "a text that is none",
    { model: bpe(["a"], { unk_token: 5 }) },
    /field "unk_token" = 5: it must be a text/,
  ],
  ["a flag that is none", { model: bpe(["a"], { fuse_unk: 1 }) }, /field "fuse_unk" = 1: it must be true or/],
  ["a character that is a list", {
    model: bpe(["a"]),
    pre_tokenizer: { type: "Metaspace", replacement: ["_"] },
  }, /field "replacement" = \["_"\]: it must be one character/],
  ["a character that is two", {
    model: bpe(["a"]),
    pre_tokenizer: { type: "Metaspace", replacement: "__" },
  }, /field "replacement" = "__": it must be one character/],
  ["an empty table of characters", {
    model: bpe(["a"]),
    normalizer: { type: "Precompiled", precompiled_charsmap: "" },
  }, /field "precompiled_charsmap" = "": it is empty/],
  ["a template's text that is the second", {
    model: bpe(["a"]),
    post_processor: { type: "TemplateProcessing", single: [{ Sequence: { id: "B" } }] },
  }, /field "single" = .*it must have the text A/],
  ["a template's token that is not named by a text", {
    model: bpe(["a"]),
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: 5 } }],
      special_tokens: { "5": { ids: [0] } },
    },
  }, /field "special_tokens" = absent: it must have token ids/],
  ["a template's ids of which one is none", {
    model: bpe(["a"]),
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "x" } }],
      special_tokens: { x: { ids: [0, -1] } },
    },
  }, /field "special_tokens" = \[0,-1\]: it must have token ids/],
];

for (const [name, fields, message] of refused) {
  test(`openTokenizer() refuses ${name}`, async () => {
    await assert.rejects(open(fields), { name: "ConfigError", message });
  });
}

test("openTokenizer() takes the greatest ids that there may be", async () => {
  const merging = await open({ model: { ...bpe([]), vocab: { a: 2 ** 26 - 1 } } });
  assert.deepEqual(merging.encode("a"), [2 ** 26 - 1]);
  const whole = await open({ model: { ...words([]), vocab: { "?": 2 ** 31 - 1 } } });
  assert.deepEqual(whole.encode("a"), [2 ** 31 - 1]);
});

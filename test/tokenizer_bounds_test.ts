/**
 * How few tokens a text may have, and texts that are longer than what a tokenizer looks at in one go.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openTokenizer } from "../src/models/tokenizer.ts";
import { stepSize } from "../src/models/tokenizer/steps.ts";
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

const bytes = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);
/** Characters that byte-level vocabularies write bytes with. */
const byteCharacters = [
  ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)),
  ...Array.from({ length: 12 }, (_, i) => String.fromCharCode(0xa1 + i)),
  ...Array.from({ length: 82 }, (_, i) => String.fromCharCode(0xae + i)),
  ...Array.from({ length: 68 }, (_, i) => String.fromCharCode(0x100 + i)),
];

const bpe = (tokens: readonly string[], more: Fields = {}): Fields => ({
  type: "BPE",
  vocab: numbered(tokens),
  merges: [],
  ...more,
});
const byteLevel = { type: "ByteLevel", add_prefix_space: false };
const added = (content: string, more: Fields = {}) => [{ id: 0, content, ...more }];

/** Tokenizers, and the longest text that one token of each may be; 0 where it may be any. */
const longest: readonly (readonly [string, Fields, number])[] = [
  ["byte-level", { model: bpe([...byteCharacters, "abcde"]), pre_tokenizer: byteLevel }, 5],
  ["byte-level, short tokens", { model: bpe(byteCharacters), pre_tokenizer: byteLevel }, 2],
  ["bytes without their level", { model: bpe([...byteCharacters, "abcde"]) }, 0],
  ["a byte is missing", { model: bpe([...byteCharacters.slice(1), "abcde"]), pre_tokenizer: byteLevel }, 0],
  ["byte fallback", { model: bpe([...bytes], { byte_fallback: true }) }, 6],
  ["a byte has no token", { model: bpe(bytes.slice(1), { byte_fallback: true }) }, 0],
  ["bytes that are not fallen back to", { model: bpe(bytes) }, 0],
  ["unknown ones alone", { model: bpe(["?", "abc"], { unk_token: "?" }) }, 3],
  ["unknown ones together", { model: bpe(["?", "abc"], { unk_token: "?", fuse_unk: true }) }, 0],
  ["a prefix", { model: bpe(["?"], { unk_token: "?", continuing_subword_prefix: "##" }) }, 0],
  ["a suffix", { model: bpe(["?"], { unk_token: "?", end_of_word_suffix: "</w>" }) }, 0],
  ["an added token", { model: bpe(["?", "abc"], { unk_token: "?" }), added_tokens: added("abcdefgh") }, 8],
  ["one that strips", {
    model: bpe(["?"], { unk_token: "?" }),
    added_tokens: added("ab", { lstrip: true }),
  }, 0],
  ["one that strips what follows", {
    model: bpe(["?"], { unk_token: "?" }),
    added_tokens: added("ab", { rstrip: true }),
  }, 0],
  ["a pre-tokenizer that drops", {
    model: bpe(["?"], { unk_token: "?" }),
    pre_tokenizer: { type: "WhitespaceSplit" },
  }, 0],
  ["a normalizer that joins", { model: bpe(["?"], { unk_token: "?" }), normalizer: { type: "NFC" } }, 16],
  ["one that shortens", {
    model: bpe(["?"], { unk_token: "?" }),
    normalizer: { type: "Replace", pattern: { String: "abcd" }, content: "xy" },
  }, 4],
  ["one that lengthens", {
    model: bpe(["?"], { unk_token: "?" }),
    normalizer: { type: "Replace", pattern: { String: "a" }, content: "xyz" },
  }, 2],
  ["one that removes", {
    model: bpe(["?"], { unk_token: "?" }),
    normalizer: { type: "Replace", pattern: { String: "ab" }, content: "" },
  }, 0],
  ["one that removes a character", {
    model: bpe(["?"], { unk_token: "?" }),
    normalizer: { type: "Replace", pattern: { String: "a" }, content: "" },
  }, 0],
  ["two normalizers", {
    model: bpe(["?"], { unk_token: "?" }),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Replace", pattern: { String: "abcd" }, content: "xy" },
        { type: "Replace", pattern: { String: "xyz" }, content: "x" },
      ],
    },
  }, 12],
  ["unigram with bytes", {
    model: { type: "Unigram", vocab: bytes.map((piece) => [piece, -1]), unk_id: 0, byte_fallback: true },
  }, 6],
  ["unigram without", { model: { type: "Unigram", vocab: [["?", -1]], unk_id: 0 } }, 0],
  ["unigram without a byte", {
    model: {
      type: "Unigram",
      vocab: bytes.slice(1).map((piece) => [piece, -1]),
      unk_id: 0,
      byte_fallback: true,
    },
  }, 0],
  ["word pieces", { model: { type: "WordPiece", vocab: { "[UNK]": 0 }, unk_token: "[UNK]" } }, 0],
];

for (const [name, fields, units] of longest) {
  test(`fewestTokens() is a text's length by the longest token's, and never above its tokens: ${name}`, async () => {
    const tokenizer = await open(fields);
    assert.equal(tokenizer.fewestTokens("a".repeat(240)), units === 0 ? 0 : 240 / units);
    assert.equal(tokenizer.fewestTokens(""), 0);
    if (units > 0) assert.equal(tokenizer.fewestTokens("a".repeat(units + 1)), 2);
    const part = fc.constantFrom(
      "a",
      "b",
      "abc",
      "abcde",
      "ab",
      " ",
      "é",
      "e\u0301",
      "😀",
      "?",
      "xyz",
      "abcdefgh",
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const text = parts.join("");
        const count = tokenizer.encode(text, { addSpecialTokens: false }).length;
        assert.ok(tokenizer.fewestTokens(text) <= count, JSON.stringify(text));
      }),
      { numRuns: 30 },
    );
  });
}

/** Tokens of single characters. */
const plain = (characters: string, more: Fields = {}) => open({ model: bpe([...characters]), ...more });

test("encode() splits at every white space, and at nothing else", async () => {
  const whole = await open({
    model: { type: "WordLevel", vocab: { "?": 0, a: 1, b: 2 }, unk_token: "?" },
    pre_tokenizer: { type: "WhitespaceSplit" },
  });
  const stripping = await open({
    model: { type: "WordLevel", vocab: { "?": 0, a: 1, "<x>": 2 }, unk_token: "?" },
    added_tokens: [{ id: 2, content: "<x>", lstrip: true, rstrip: true }],
  });
  for (let code = 0; code < 0x3100; code++) {
    const character = String.fromCharCode(code);
    const isSpace = /\p{White_Space}/u.test(character);
    assert.deepEqual(whole.encode(`a${character}b`).length, isSpace ? 2 : 1, code.toString(16));
    // Around a token that strips, white space is a part of it.
    const around = stripping.encode(`a${character}<x>${character}a`);
    assert.deepEqual(around, isSpace ? [1, 2, 1] : [0, 2, 0], code.toString(16));
  }
});

test("normalizers change long texts as they change short ones, wherever these are cut", async () => {
  const composed = await plain("éa", { normalizer: { type: "NFC" } });
  const bare = await plain("ea", {
    normalizer: { type: "Sequence", normalizers: [{ type: "NFD" }, { type: "StripAccents" }] },
  });
  const times = Math.ceil(2.5 * stepSize / 2);
  for (const before of ["", "a", "aa", "aaa"]) {
    const text = before + "e\u0301".repeat(times);
    const ids = Array(before.length).fill(1);
    assert.deepEqual(composed.encode(text), [...ids, ...Array(times).fill(0)]);
    assert.deepEqual(bare.encode(text), [...ids, ...Array(times).fill(0)]);
  }
});

test("byte-level words of any length are encoded by their bytes, and characters are not cut", async () => {
  const tokenizer = await open({
    model: bpe(byteCharacters),
    pre_tokenizer: { ...byteLevel, use_regex: false },
    decoder: { type: "ByteLevel" },
  });
  for (const before of ["", "a", "ab", "abc"]) {
    const text = before + "😀é".repeat(stepSize);
    assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
    assert.deepEqual(await tokenizer.encodeAsync(text), tokenizer.encode(text));
  }
});

test("Metaspace marks every space of a long text, and the start where its scheme says so", async () => {
  const metaspace = (fields: Fields) =>
    plain("▁a", { pre_tokenizer: { type: "Metaspace", replacement: "▁", ...fields } });
  const text = " a".repeat(2 * stepSize);
  const ids = Array.from({ length: 4 * stepSize }, (_, i) => i % 2);
  for (const split of [true, false]) {
    const always = await metaspace({ split });
    assert.deepEqual(always.encode(text), ids);
    assert.deepEqual(always.encode("a a"), [0, 1, 0, 1]);
    const never = await metaspace({ split, prepend_scheme: "never" });
    assert.deepEqual(never.encode("a a"), [1, 0, 1]);
  }
});

test("words of fixed length are cut by characters, and a length of 0 is refused", async () => {
  const fixed = (length: unknown) =>
    open({
      model: { type: "WordLevel", vocab: { "?": 0, "😀a": 1, "b": 2, "\uffffc": 3 }, unk_token: "?" },
      pre_tokenizer: { type: "FixedLength", length },
    });
  assert.deepEqual((await fixed(2)).encode("😀a\uffffcb"), [1, 3, 2]);
  for (const length of [0, -1, 0.5, "2"]) {
    await assert.rejects(fixed(length), { name: "ConfigError", message: /field "length"/ }, String(length));
  }
});

test("openTokenizer() refuses a table of characters that is cut off", async () => {
  const refuses = (table: Uint8Array): Promise<void> =>
    assert.rejects(
      open({
        model: bpe(["a"]),
        normalizer: { type: "Precompiled", precompiled_charsmap: btoa(String.fromCharCode(...table)) },
      }),
      /field "precompiled_charsmap" = .*: its trie is cut off/,
    );
  await refuses(Uint8Array.of(6, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  await refuses(Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0));
  await refuses(Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0));
});

test("split behaviours cut, drop and join matches as they are named", async () => {
  const words = ["a", "-", "a-", "-a", "--", "--a", "a--", "a-b", "b"];
  const encoded = async (behavior: string, text: string, invert = false): Promise<string[]> => {
    const { encode } = await open({
      model: { type: "WordLevel", vocab: numbered(["?", ...words]), unk_token: "?" },
      pre_tokenizer: { type: "Split", pattern: { String: "-" }, behavior, invert },
    });
    return encode(text).map((id) => ["?", ...words][id]);
  };
  assert.deepEqual(await encoded("Removed", "a--a"), ["a", "a"]);
  assert.deepEqual(await encoded("Isolated", "a--a"), ["a", "-", "-", "a"]);
  assert.deepEqual(await encoded("MergedWithPrevious", "a--a"), ["a-", "-", "a"]);
  assert.deepEqual(await encoded("MergedWithNext", "a--a"), ["a", "-", "-a"]);
  assert.deepEqual(await encoded("Contiguous", "a--a"), ["a", "--", "a"]);
  assert.deepEqual(await encoded("Removed", "a--a", true), ["-", "-"]);
  assert.deepEqual(await encoded("Isolated", ""), []);
});

/** Words, and what follows a text's first one only where the text begins with it. */
const marked = ["?", "▁a", "a", "b", "Ġb", "-"];
const firstOnly = (fields: Fields) =>
  open({ model: { type: "WordLevel", vocab: numbered(marked), unk_token: "?" }, ...fields });
const metaspace = { type: "Metaspace", replacement: "▁", prepend_scheme: "first" };

test("Metaspace by its scheme first marks the word that begins the text, and no other", async () => {
  const split = { type: "Split", pattern: { String: "-" }, invert: false };
  const words: [Fields, string, string[]][] = [
    [{ ...split, behavior: "Removed" }, "a-a", ["▁a", "a"]],
    [{ ...split, behavior: "Removed" }, "-a", ["a"]],
    [{ type: "FixedLength", length: 1 }, "aab", ["▁a", "a", "b"]],
    [{ type: "ByteLevel", add_prefix_space: false }, "a b", ["▁a", "Ġb"]],
    [{ type: "Digits", individual_digits: true }, "a1a", ["▁a", "?", "a"]],
  ];
  for (const [before, text, expected] of words) {
    const tokenizer = await firstOnly({
      pre_tokenizer: { type: "Sequence", pretokenizers: [before, metaspace] },
    });
    assert.deepEqual(tokenizer.encode(text).map((id) => marked[id]), expected, JSON.stringify(before));
  }
});

test("Metaspace by its scheme first marks nothing where a normalizer took the text's beginning away", async () => {
  const nothing = { type: "Replace", pattern: { String: "x" }, content: "" };
  const both = { type: "Replace", pattern: { String: "xy" }, content: "" };
  const words: [Fields, string, string][] = [
    [{ type: "StripAccents" }, "a", "▁a"],
    [{ type: "StripAccents" }, "\u0301a", "a"],
    [{ type: "StripAccents" }, "a\u0301", "▁a"],
    [nothing, "xa", "a"],
    [nothing, "ax", "▁a"],
    [{ ...nothing, pattern: { Regex: "x*" } }, "ax", "▁a"],
    [both, "xya", "a"],
    [both, "axy", "▁a"],
    [{ ...both, content: "a" }, "xy", "▁a"],
    [{ type: "Strip", strip_left: true, strip_right: true }, " a ", "a"],
    [{ type: "Strip", strip_left: true, strip_right: true }, "a ", "▁a"],
    [{ type: "Lowercase" }, "A", "▁a"],
  ];
  for (const [normalizer, text, expected] of words) {
    const tokenizer = await firstOnly({ normalizer, pre_tokenizer: metaspace });
    const found = tokenizer.encode(text).map((id) => marked[id]);
    assert.deepEqual(found, [expected], JSON.stringify([normalizer, text]));
  }
});

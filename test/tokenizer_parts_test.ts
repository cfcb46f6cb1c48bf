/**
 * A tokenizer.json's parts at their edges: merges of long words, decoders, and what is refused.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openTokenizer } from "../src/models/tokenizer.ts";
import type { Tokenizer } from "../src/models/tokenizer_types.ts";

type Fields = Readonly<Record<string, unknown>>;

function open(fields: Fields): Promise<Tokenizer> {
  return openTokenizer({
    exists: (name) => Promise.resolve(name === "tokenizer.json"),
    readText: () => Promise.resolve(JSON.stringify(fields)),
  });
}

/** Ids of tokens in their order. */
const numbered = (tokens: readonly string[]): Record<string, number> =>
  Object.fromEntries(tokens.map((token, id) => [token, id]));

const refusesModel = (model: Fields, message: string): Promise<void> =>
  assert.rejects(open({ model }), { name: "ConfigError", message });

/** Merges as their definition says: of all pairs the one of least rank, the leftmost first, until there is none. */
function mergedByRule(word: string, merges: readonly string[]): string[] {
  const symbols = [...word];
  for (;;) {
    const ranks = symbols.slice(1).map((right, i) => merges.indexOf(`${symbols[i]} ${right}`));
    const known = ranks.filter((rank) => rank >= 0);
    if (known.length === 0) return symbols;
    const at = ranks.indexOf(Math.min(...known));
    symbols.splice(at, 2, symbols[at] + symbols[at + 1]);
  }
}

test("encode() merges a word of any length by rank, then from the left", async () => {
  const tokens = ["a", "b", "c", "ab", "bc", "aa", "abc", "aab", "abab", "ca", "aaaa", "cab"];
  const merges = ["b c", "a a", "a b", "a bc", "aa b", "ab ab", "c a", "aa aa", "ca b"];
  const tokenizer = await open({ model: { type: "BPE", vocab: numbered(tokens), merges } });
  const word = fc.oneof(
    fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 150 }),
    fc.tuple(
      fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 5 }),
      fc.integer({ min: 1, max: 30 }),
    )
      .map(([part, times]) => part.repeat(times)),
  );
  fc.assert(fc.property(word, (text) => {
    const made = tokenizer.encode(text).map((id) => tokens[id]);
    assert.deepEqual(made, mergedByRule(text, merges), text);
  }));
  // Longer than what is merged in one go.
  const long = "abcaab".repeat(2000), ids = tokenizer.encode(long);
  assert.equal(ids.map((id) => tokens[id]).join(""), long);
  assert.deepEqual(await tokenizer.encodeAsync(long), ids);
  const few = mergedByRule("abcaab".repeat(40), merges);
  assert.deepEqual(ids.slice(0, 60).map((id) => tokens[id]), few.slice(0, 60));
});

test("encode() merges a long word by rank where any two characters may join", async () => {
  const merges = [
    "a b",
    "b b",
    "a a",
    "b a",
    "aa aa",
    "ab ab",
    "bb a",
    "ab bb",
    "aaaa b",
    "abab ab",
    "aa bb",
  ];
  const tokens = ["a", "b", ...merges.map((pair) => pair.replace(" ", ""))];
  const tokenizer = await open({ model: { type: "BPE", vocab: numbered(tokens), merges } });
  const word = fc.string({ unit: fc.constantFrom("a", "b"), minLength: 33, maxLength: 150 });
  fc.assert(fc.property(word, (text) => {
    assert.deepEqual(tokenizer.encode(text).map((id) => tokens[id]), mergedByRule(text, merges), text);
  }));
});

test("openTokenizer() refuses merges and an unknown token that a vocabulary cannot have", async () => {
  const model = { type: "BPE", vocab: numbered(["a", "b", "ab"]), merges: [] as unknown[] };
  for (const entry of ["a", "a b c", ["a"], ["a", "b", "c"], ["a", 1], 7, null]) {
    await refusesModel(
      { ...model, merges: [entry] },
      `Cannot use tokenizer.json field "merges" = ${JSON.stringify(entry)}: it must be two tokens`,
    );
  }
  await refusesModel(
    { ...model, merges: ["a c"] },
    'Cannot use tokenizer.json field "merges" = ["a","c"]: the vocabulary does not have "c"',
  );
  await refusesModel(
    { ...model, merges: ["b a"] },
    'Cannot use tokenizer.json field "merges" = ["b","a"]: the vocabulary does not have "ba"',
  );
  await refusesModel(
    { ...model, unk_token: "?" },
    'Cannot use tokenizer.json field "unk_token" = "?": the vocabulary does not have it',
  );
  const long = `${"x".repeat(100)} y`;
  await refusesModel(
    { ...model, merges: [long] },
    `Cannot use tokenizer.json field "merges" = ["${"x".repeat(78)}...: the vocabulary does not have "${
      "x".repeat(100)
    }"`,
  );
});

test("openTokenizer() refuses a Unigram's pieces and unknown token that are none", async () => {
  const model = { type: "Unigram", vocab: [["a", -1], ["b", -2]] as unknown[] };
  for (const entry of [["a"], "a", ["a", "b"], [1, 2], null]) {
    await refusesModel(
      { ...model, vocab: [entry] },
      `Cannot use tokenizer.json field "vocab" = ${
        JSON.stringify(entry)
      }: it must be a list of pieces with scores`,
    );
  }
  for (const unknown of [2, -1, 0.5, "a"]) {
    await refusesModel(
      { ...model, unk_id: unknown },
      `Cannot use tokenizer.json field "unk_id" = ${
        JSON.stringify(unknown)
      }: it must be a place in the vocabulary`,
    );
  }
});

test("encode() by Unigram takes the likeliest cut, and joins unknown characters", async () => {
  const vocab = [["<unk>", 0], ["a", -1], ["b", -1], ["ab", -3], ["bb", -1.5], ["😀", -1]];
  const { encode } = await open({ model: { type: "Unigram", vocab, unk_id: 0 } });
  assert.deepEqual(encode("ab"), [1, 2]);
  assert.deepEqual(encode("abb"), [1, 4]);
  assert.deepEqual(encode("aéñb"), [1, 0, 2]);
  assert.deepEqual(encode("é😀ñ"), [0, 5, 0]);
  const without = await open({ model: { type: "Unigram", vocab: vocab.slice(1) } });
  assert.deepEqual(without.encode("ab"), [0, 1]);
  assert.throws(() => without.encode("é"), {
    name: "ConfigError",
    message:
      'Cannot use tokenizer.json field "unk_id" = absent: a character is unknown, and there is no token for such',
  });
});

test("openTokenizer() refuses a Metaspace whose prefix is said in two ways", async () => {
  const model = { type: "BPE", vocab: numbered(["a", "▁", "▁a"]), merges: ["▁ a"] };
  const metaspace = (fields: Fields) =>
    open({ model, pre_tokenizer: { type: "Metaspace", replacement: "▁", ...fields } });
  await assert.rejects(metaspace({ prepend_scheme: "last" }), {
    message:
      'Cannot use tokenizer.json field "prepend_scheme" = "last": it must be "always", "first" or "never"',
  });
  for (const scheme of ["always", "first"]) {
    await assert.rejects(metaspace({ prepend_scheme: scheme, add_prefix_space: false }), {
      message: 'Cannot use tokenizer.json field "add_prefix_space" = false: it does not match prepend_scheme',
    });
  }
  const never = await metaspace({ prepend_scheme: "never", add_prefix_space: false });
  assert.deepEqual(never.encode("a a"), [0, 2]);
  assert.deepEqual((await metaspace({ prepend_scheme: "always" })).encode("a a"), [2, 2]);
});

test("decode() by Strip takes so many characters from both ends of a token, and no others", async () => {
  const vocab = numbered(["__a__", "_a", "a___", "____", "x_", ""]);
  const decoder = { type: "Strip", content: "_", start: 1, stop: 2 };
  const { decode } = await open({ model: { type: "BPE", vocab, merges: [] }, decoder });
  const decoded = Object.values(vocab).map((id) => decode([id]));
  assert.deepEqual(decoded, ["_a", "a", "a_", "_", "x", ""]);
});

test("decode() by ByteFallback gives U+FFFD for each byte of a run that is no text", async () => {
  const vocab = numbered(["<0xC3>", "<0xA9>", "a"]);
  const { decode } = await open({
    model: { type: "BPE", vocab, merges: [] },
    decoder: { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] },
  });
  assert.equal(decode([0, 1]), "é");
  assert.equal(decode([0, 1, 0]), "\ufffd\ufffd\ufffd");
  assert.equal(decode([2, 0, 2]), "a\ufffda");
});

test("openTokenizer() refuses a post-processor's tokens that are no ids", async () => {
  const model = { type: "BPE", vocab: numbered(["a", "<s>"]), merges: [] };
  const single = [{ SpecialToken: { id: "<s>" } }, { Sequence: { id: "A" } }];
  const template = (token: unknown) =>
    open({
      model,
      post_processor: { type: "TemplateProcessing", single, special_tokens: { "<s>": token } },
    });
  for (const ids of [[-1], [0.5], ["a"], "a", undefined]) {
    await assert.rejects(template({ ids }), /field "special_tokens" = .*: it must have token ids/);
  }
  assert.deepEqual((await template({ ids: [1, 1] })).encode("a"), [1, 1, 0]);
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { openTokenizer, type TextFolder } from "../src/models/tokenizer.ts";

interface Golden {
  readonly template: string;
  readonly texts: readonly string[];
  readonly tokenizers: Readonly<Record<string, unknown>>;
  readonly folders: Readonly<
    Record<string, {
      readonly files: Readonly<Record<string, unknown>>;
      readonly tokenizer: string;
      readonly eos: number | null;
      readonly chat: string;
      readonly ids: readonly (readonly number[])[];
      readonly decoded: readonly string[];
    }>
  >;
}

const golden: Golden = JSON.parse(
  readFileSync(new URL("./fixtures/special_tokens.json", import.meta.url), "utf8"),
);

function folderOf(files: Readonly<Record<string, unknown>>): TextFolder {
  return {
    exists: (name) => Promise.resolve(name in files),
    readText: (name) =>
      Promise.resolve(typeof files[name] === "string" ? files[name] : JSON.stringify(files[name])),
  };
}

for (const [name, { files, tokenizer: base, eos, chat, ids, decoded }] of Object.entries(golden.folders)) {
  test(`openTokenizer() follows transformers: ${name}`, async () => {
    const tokenizer = await openTokenizer(folderOf({
      ...files,
      "tokenizer.json": golden.tokenizers[base],
      "chat_template.jinja": golden.template,
    }));
    assert.deepEqual(tokenizer.eosTokenIds, eos === null ? [] : [eos]);
    assert.equal(tokenizer.chatPrompt([{ role: "user", content: "" }]), chat);
    golden.texts.forEach((text, i) => {
      assert.deepEqual(tokenizer.encode(text), ids[i], text);
      assert.equal(tokenizer.decode(ids[i]), decoded[i], text);
    });
  });
}

test("openTokenizer() ends at the tokenizer's end token and at those of both configs", async () => {
  const files = {
    "tokenizer.json": golden.tokenizers.plain,
    "tokenizer_config.json": { eos_token: "<|end|>" },
    "generation_config.json": { eos_token_id: [2, 1] },
    "config.json": { eos_token_id: null, pad_token_id: -1 },
  };
  assert.deepEqual((await openTokenizer(folderOf(files))).eosTokenIds, [2, 1, 6]);
  const none = { "tokenizer.json": golden.tokenizers.plain, "config.json": { eos_token_id: null } };
  assert.deepEqual((await openTokenizer(folderOf(none))).eosTokenIds, []);
});

/** Tokens of single characters, and a normalizer that shows whether a token is found before it. */
const lower = {
  model: { type: "BPE", vocab: { "<": 0, x: 1, ">": 2 }, merges: [] },
  normalizer: { type: "Lowercase" },
};

test("tokens named in tokenizer_config.json are special, and found as they are written", async () => {
  for (const eos_token of ["<X>", { content: "<X>" }]) {
    const tokenizer = await openTokenizer(
      folderOf({ "tokenizer.json": lower, "tokenizer_config.json": { eos_token } }),
    );
    assert.deepEqual(tokenizer.encode("<X><x>"), [3, 0, 1, 2]);
    assert.equal(tokenizer.decode([3, 1]), "x");
  }
});

test("only fields of tokenizer_config.json that end in _token name tokens", async () => {
  const config = { tokenizer_class: "x>", additional_special_tokens: [null, 5, "<"] };
  const tokenizer = await openTokenizer(
    folderOf({ "tokenizer.json": lower, "tokenizer_config.json": config }),
  );
  assert.deepEqual(tokenizer.encode("<x>"), [0, 1, 2]);
  assert.equal(tokenizer.decode([0, 1, 2]), "x >");
});

test("added_tokens.json gives ids by its numbers, and its tokens are special where they are named", async () => {
  const tokenizer = await openTokenizer(folderOf({
    "tokenizer.json": lower,
    "added_tokens.json": { "<z>": 5, "<y>": 3, "<w>": 4 },
    "special_tokens_map.json": { additional_special_tokens: ["<w>"] },
  }));
  assert.deepEqual(tokenizer.encode("<y><w><z>"), [3, 4, 5]);
  assert.equal(tokenizer.decode([3, 4, 5]), "<y> <z>");
});

test("a chat_template that is null is none", async () => {
  const tokenizer = await openTokenizer(folderOf({
    "tokenizer.json": lower,
    "tokenizer_config.json": { chat_template: null },
  }));
  assert.throws(() => tokenizer.chatPrompt([]), { name: "ConfigError" });
});

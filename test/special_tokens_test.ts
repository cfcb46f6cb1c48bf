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

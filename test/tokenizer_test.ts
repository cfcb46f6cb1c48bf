import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { ConfigError } from "../src/errors.ts";
import { expression, loadExpressions } from "../src/models/tokenizer/patterns.ts";
import { byteLevelWords } from "../src/models/tokenizer/pre_tokenizers.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import { demoFolder, demoTokenizer, goldenCases } from "./demo_model.ts";

const tokenizer = await demoTokenizer();

function configWith(fields: Record<string, unknown>): string {
  const text = readFileSync(new URL("../examples/demo/base/tokenizer_config.json", import.meta.url), "utf8");
  return JSON.stringify({ ...JSON.parse(text), ...fields });
}

test("openTokenizer() encodes every golden prompt as transformers does", () => {
  const cases = goldenCases();
  assert.ok(cases.length > 0);
  for (const { prompt, prompt_token_ids } of cases) {
    assert.deepEqual(tokenizer.encode(prompt), prompt_token_ids, prompt);
    assert.deepEqual(
      tokenizer.encode(prompt, { addSpecialTokens: false }),
      prompt_token_ids.slice(1),
      prompt,
    );
  }
});

test("the words of a byte-level pre-tokenizer are those of GPT-2's regular expression", async () => {
  const source = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;
  await loadExpressions({ pre_tokenizer: { pattern: { Regex: source } } });
  assert.equal(byteLevelWords.source, expression(source).source);
});

test("openTokenizer() writes chats later where it is told so, once prepareChat() is awaited", async () => {
  const later = await openTokenizer(demoFolder(), { chat: "later" });
  const messages = [{ role: "user", content: "Who are you?" }];
  assert.throws(
    () => later.chatPrompt(messages),
    /^TypeError: Cannot write a chat prompt yet:.*prepareChat\(\)/,
  );
  assert.equal(later.toolTemplate, tokenizer.toolTemplate);
  await later.prepareChat!();
  assert.equal(later.chatPrompt(messages), tokenizer.chatPrompt(messages));
});

test("openTokenizer() decodes every golden answer as transformers does", () => {
  for (const { token_ids, text } of goldenCases()) assert.equal(tokenizer.decode(token_ids), text);
});

test("encode() and decode() give any text back", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme", maxLength: 60 }), (text) => {
    assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
  }));
});

test("decode() does not tidy spaces before punctuation", () => {
  const text = "well , I do n't know .";
  assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
});

test("decode() leaves special tokens out unless asked, and ids without a token always", () => {
  assert.equal(tokenizer.decode([0, 870]), "The");
  assert.equal(tokenizer.decode([0, 870], { skipSpecialTokens: false }), "<|endoftext|>The");
  assert.equal(tokenizer.decode([870, 4096, 99999]), "The");
  assert.equal(tokenizer.decode([]), "");
  assert.equal(tokenizer.decode([99999]), "");
});

test("openTokenizer() takes end-of-text ids of the tokenizer and of both configs, one or a list", async () => {
  assert.deepEqual(tokenizer.eosTokenIds, [0]);
  const several = await openTokenizer(demoFolder({
    "generation_config.json": '{"eos_token_id": [5, 6]}',
    "config.json": '{"eos_token_id": 6}',
  }));
  assert.deepEqual(several.eosTokenIds, [5, 6, 0]);
  const none = await openTokenizer(
    demoFolder({ "generation_config.json": null, "config.json": "{}", "tokenizer_config.json": null }),
  );
  assert.deepEqual(none.eosTokenIds, []);
});

test("openTokenizer() says of a git-lfs pointer or a web page in a file's place what it is", async () => {
  const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9085657\n";
  const names = ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"];
  for (const name of names) {
    const file = name.replace(".", "\\.");
    await assert.rejects(
      openTokenizer(demoFolder({ [name]: pointer })),
      new RegExp(
        `^ConfigError: Cannot read ${file} as (JSON|a template): it is a git-lfs pointer.*git lfs pull`,
      ),
    );
  }
  const page = openTokenizer(demoFolder({ "tokenizer.json": "<!doctype html><title>404</title>" }));
  await assert.rejects(page, /Cannot read tokenizer\.json as JSON: it is a web page/);
  const { chatPrompt } = await openTokenizer(demoFolder({ "chat_template.jinja": "version 1: hi" }));
  assert.equal(chatPrompt([]), "version 1: hi");
});

test("openTokenizer() names the file and the rule of what it refuses", async () => {
  const refused: [Record<string, string | null>, RegExp][] = [
    [{ "tokenizer.json": null }, /Cannot find tokenizer\.json/],
    [{ "tokenizer.json": "{" }, /Cannot read tokenizer\.json as JSON/],
    [{ "tokenizer.json": "[]" }, /tokenizer\.json: it must be a JSON object/],
    [{ "tokenizer.json": "{}" }, /Cannot use tokenizer\.json/],
    [{ "tokenizer_config.json": "no" }, /Cannot read tokenizer_config\.json as JSON/],
    [{ "generation_config.json": '{"eos_token_id": "x"}' }, /"eos_token_id" of generation_config\.json.*"x"/],
    [{ "config.json": '{"eos_token_id": [1, -1]}' }, /"eos_token_id" of config\.json/],
    [
      { "chat_template.jinja": null, "tokenizer_config.json": '{"chat_template": 3}' },
      /"chat_template" of tokenizer_config\.json/,
    ],
    [
      {
        "chat_template.jinja": null,
        "tokenizer_config.json": '{"chat_template": [{"name": "rag", "template": ""}]}',
      },
      /entry named "default"/,
    ],
  ];
  for (const [files, message] of refused) {
    await assert.rejects(openTokenizer(demoFolder(files)), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, message);
      return true;
    });
  }
});

test("chatPrompt() of the demo joins the messages by blank lines after the first token", () => {
  const messages = [
    { role: "system", content: "A tale." },
    { role: "user", content: "  The people of" },
  ];
  assert.equal(tokenizer.chatPrompt(messages), "<|endoftext|>A tale.\n\n  The people of");
});

test("chatPrompt() of one message is what completing its text is", () => {
  for (const { prompt, prompt_token_ids } of goldenCases()) {
    const text = tokenizer.chatPrompt([{ role: "user", content: prompt }]);
    assert.deepEqual(tokenizer.encode(text, { addSpecialTokens: false }), prompt_token_ids);
  }
});

test("chatPrompt() finds the template in each place, the .jinja file first", async () => {
  const messages = [{ role: "user", content: "hi" }];
  const prompt = async (files: Record<string, string | null>): Promise<string> =>
    (await openTokenizer(demoFolder(files))).chatPrompt(messages);
  const inConfig = configWith({ chat_template: "config {{ messages[0].content }}" });
  assert.equal(await prompt({ "tokenizer_config.json": inConfig }), "<|endoftext|>hi");
  const noFile = { "chat_template.jinja": null };
  assert.equal(await prompt({ ...noFile, "tokenizer_config.json": inConfig }), "config hi");
  const named = configWith({
    chat_template: [{ name: "tool_use", template: "no" }, {
      name: "default",
      template: "{% if tools is none and add_generation_prompt %}named {{ eos_token }}{% endif %}",
    }],
    eos_token: { content: "<end>" },
  });
  assert.equal(await prompt({ ...noFile, "tokenizer_config.json": named }), "named <end>");
  const inJson = JSON.stringify({ chat_template: "json {{ messages | length }}" });
  assert.equal(await prompt({ ...noFile, "chat_template.json": inJson }), "json 1");
});

test("chatPrompt() gives the template tools, documents and variables, as transformers does", async () => {
  const template = "{{ tools }}{{ documents }}{{ bos_token }}{{ x }}{{ add_generation_prompt }}";
  const { chatPrompt } = await openTokenizer(demoFolder({ "chat_template.jinja": template }));
  assert.equal(chatPrompt([]), "NoneNone<|endoftext|>True");
  const options = { tools: [{ a: 1 }], documents: [{ b: null }], variables: { x: 1.5, bos_token: "<s>" } };
  assert.equal(
    chatPrompt([], { ...options, addGenerationPrompt: false }),
    "[{'a': 1}][{'b': None}]<s>1.5False",
  );
  assert.throws(
    () => chatPrompt([], { variables: { messages: [] } }),
    /Cannot give the chat template a variable "messages"/,
  );
});

test("chatPrompt() takes the template named tool_use where tools are given", async () => {
  const tools = [{ name: "f" }];
  const named = [{ name: "default", template: "plain" }, { name: "tool_use", template: "with tools" }];
  const two = await openTokenizer(
    demoFolder({
      "chat_template.jinja": null,
      "tokenizer_config.json": configWith({ chat_template: named }),
    }),
  );
  assert.equal(two.chatPrompt([]), "plain");
  assert.equal(two.chatPrompt([], { tools }), "with tools");
  const one = await openTokenizer(demoFolder({ "chat_template.jinja": "plain" }));
  assert.equal(one.chatPrompt([], { tools }), "plain");
});

test("chatPrompt() takes the line ends of Windows for line ends", async () => {
  const unix = "{{- bos_token }}User:\n{% for m in messages %}\n{{ m.content }}\n{% endfor %}\nBot:\n\n";
  const prompts = await Promise.all([unix, unix.replaceAll("\n", "\r\n")].map(async (template) => {
    const { chatPrompt } = await openTokenizer(demoFolder({ "chat_template.jinja": template }));
    return chatPrompt([{ role: "user", content: "The king" }]);
  }));
  assert.deepEqual(prompts, Array(2).fill("<|endoftext|>User:\nThe king\nBot:\n"));
});

test("chatPrompt() throws ConfigError without a template, for a broken one, and when it refuses", async () => {
  const failing: [string | null, RegExp][] = [
    [null, /the model has no chat template/],
    ["{% if %}", /by the model's template/],
    ["{{ raise_exception('roles must alternate') }}", /roles must alternate/],
  ];
  for (const [template, message] of failing) {
    const opened = await openTokenizer(demoFolder({ "chat_template.jinja": template }));
    assert.throws(() => opened.chatPrompt([{ role: "user", content: "hi" }]), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, message);
      return true;
    });
  }
});

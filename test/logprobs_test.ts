import assert from "node:assert/strict";
import { test } from "node:test";
import type { GenerateEvent, GenerateRequest } from "../src/engine/generate.ts";
import { generateText, type TextToken } from "../src/engine/text.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import type { Tokenizer } from "../src/models/tokenizer_types.ts";
import { chatLogprobs, completionLogprobs } from "../src/server/logprobs.ts";

/** A tokenizer whose vocabulary is these tokens, as SentencePiece models decode theirs. */
function pieces(tokens: readonly string[]): Promise<Tokenizer> {
  const file = {
    added_tokens: [{ id: 0, content: "<s>", special: true }],
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: { type: "BPE", vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges: [] },
  };
  return openTokenizer({
    exists: (name) => Promise.resolve(name === "tokenizer.json"),
    readText: () => Promise.resolve(JSON.stringify(file)),
  });
}

const vocabulary = ["<s>", "▁hello", "▁in", "in", "<0xC3>", "<0xA9>", "▁", "▁world"];
const tokenizer = await pieces(vocabulary);

/** An engine that says these tokens, and finds every token of the vocabulary as likely as its id is small. */
function engine(
  ids: readonly number[],
): { generate(request: GenerateRequest): AsyncGenerator<GenerateEvent> } {
  const top = vocabulary.map((_, tokenId) => ({ tokenId, logprob: -tokenId }));
  const logprobs = (tokenId: number) => ({ logprob: -tokenId, top });
  return {
    async *generate({ promptTokenIds, promptLogprobs }) {
      await Promise.resolve();
      if (promptLogprobs) {
        yield { kind: "prompt", logprobs: promptTokenIds.map((id, i) => i === 0 ? null : logprobs(id)) };
      }
      for (const tokenId of ids) yield { kind: "token", tokenId, logprobs: logprobs(tokenId) };
      yield { kind: "end", finishReason: "length" };
    },
  };
}

async function tokensOf(
  promptTokenIds: readonly number[],
  ids: readonly number[],
  echo = false,
): Promise<TextToken[]> {
  const sampling = { temperature: 0, topP: 1, topK: 0 };
  const request = { promptTokenIds, maxTokens: 9, sampling, logprobs: 8, promptLogprobs: echo };
  const tokens: TextToken[] = [];
  for await (const event of generateText(engine(ids), request, { tokenizer, echo })) {
    tokens.push(...event.tokens);
  }
  return tokens;
}

test("completionLogprobs() gives tokens that join to the text, and both of two tokens of like text", async () => {
  const { tokens, text_offset, top_logprobs } = completionLogprobs(
    await tokensOf([0, 1, 7], [2, 3, 4, 5], true),
  );
  assert.deepEqual(tokens, ["<s>", "hello", " world", " in", "in", "", "é"]);
  assert.deepEqual(text_offset, [0, 0, 5, 11, 14, 16, 16]);
  assert.equal(top_logprobs[0], null);
  assert.deepEqual(top_logprobs[3], {
    "<s>": -0,
    " hello": -1,
    " in": -2,
    "in": -3,
    "": -4,
    "\ufffd": -5,
    " ": -6,
    " world": -7,
  });
});

test("completionLogprobs() calls a token by its id where a likelier one has its text", () => {
  const one = (tokenId: number, text: string, logprob: number) => ({ tokenId, text, bytes: [], logprob });
  const token: TextToken = {
    ...one(9, "", -5),
    offset: 0,
    logprobs: { logprob: -5, top: [one(4, "", -1), one(5, "a", -2), one(6, "", -3)] },
  };
  assert.deepEqual(completionLogprobs([token]).top_logprobs, [{
    "": -1,
    "a": -2,
    "token_id:6": -3,
    "token_id:9": -5,
  }]);
});

test("chatLogprobs() gives each token its own bytes, those of a part of a character, too", async () => {
  const { content } = chatLogprobs(await tokensOf([0, 1], [2, 4, 5]));
  assert.deepEqual(content.map(({ token, bytes }) => [token, bytes]), [
    [" in", [32, 105, 110]],
    ["", [195]],
    ["é", [169]],
  ]);
  const beside = content[0].top_logprobs.slice(2, 4);
  assert.deepEqual(beside.map(({ token, bytes }) => [token, bytes]), [[" in", [32, 105, 110]], ["in", [
    105,
    110,
  ]]]);
});

test("chatLogprobs() keeps the space of a first word after a prompt of special tokens only at its end", async () => {
  assert.equal(chatLogprobs(await tokensOf([1, 0, 0, 0, 0, 0, 0], [7])).content[0].token, " world");
  assert.equal(chatLogprobs(await tokensOf([0, 0, 0, 0, 0, 0], [7])).content[0].token, "world");
});

/**
 * Requests as others' clients send them: OpenAI's own client, the bodies of Vercel's AI SDK and of LangChain.js
 * (test/peers/clients.mjs runs these), and those of lm-evaluation-harness.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import * as z from "zod";
import { cpuDevice, openModel } from "../mod.ts";
import { openFolder, openGrammars } from "../src/runtime/mod.ts";
import type { Tokenizer } from "../src/models/tokenizer_types.ts";
import { createApp } from "../src/server/mod.ts";
import { demoTokenizer } from "./demo_model.ts";
import { fakeAdapters, fakeEngine } from "./server_fakes.ts";

// deno-lint-ignore no-explicit-any -- answers are JSON that each test looks into
type Json = any;

const tokenizer = await demoTokenizer();
const withTools: Tokenizer = { ...tokenizer, toolTemplate: "{{ tools }}<tool_call>" };
const grammars = openGrammars(tokenizer, {
  vocabSize: 4096,
  limits: { compileMs: 2 ** 30, nextMs: 2 ** 30 },
});
after(() => grammars.close());

const demo = fileURLToPath(new URL("../examples/demo/base", import.meta.url));
const { engine } = await openModel(cpuDevice(), { folder: await openFolder(demo) });
const app = createApp({
  model: { id: "base", createdUnixSeconds: 0, engine, tokenizer, grammars },
  adapters: fakeAdapters(),
});

const forms: readonly { client: string; path: string; body: Json }[] = JSON.parse(
  readFileSync(new URL("fixtures/client_forms.json", import.meta.url), "utf8"),
);

test("the server takes every body that the AI SDK and LangChain.js sent, and gives the form that they ask for", async () => {
  const text = '<tool_call>{"name": "weather", "arguments": {"town": "Ulm"}}</tool_call>';
  const fake = fakeEngine({
    reply: () => tokenizer.encode(text, { addSpecialTokens: false }),
    maxModelLen: 512,
  });
  const served = createApp({
    model: { id: "base", createdUnixSeconds: 0, engine: fake, tokenizer: withTools, grammars },
    adapters: fakeAdapters(),
  });
  assert.equal(forms.length, 12);
  for (const { client, path, body } of forms) {
    const sent = { ...body, model: body.model === "base" ? "base" : "kjv" };
    const response = await served.request(path, { method: "POST", body: JSON.stringify(sent) });
    const answered = await response.text();
    assert.equal(response.status, 200, `${client}: ${answered}`);
    const forced = body.response_format !== undefined || typeof body.tool_choice === "object" ||
      body.tool_choice === "required";
    assert.equal(fake.requests.at(-1)!.constraint !== undefined, forced, JSON.stringify(body));
    if (body.stream) {
      assert.match(answered, /data: \[DONE\]\n\n$/);
      continue;
    }
    const { choices: [{ finish_reason, message }], usage }: Json = JSON.parse(answered);
    assert.equal(finish_reason, body.tools ? "tool_calls" : "stop");
    assert.equal(message?.tool_calls?.length ?? 0, body.tools ? 1 : 0);
    assert.ok(usage.total_tokens > 0);
  }
});

test("OpenAI's client parses an answer by its Zod schema", async () => {
  const client = new OpenAI({
    baseURL: "http://localhost/v1",
    apiKey: "unused",
    maxRetries: 0,
    fetch: async (input, init) => await app.request(input as string, init),
  });
  const schema = z.object({ colour: z.enum(["red", "blue"]), size: z.int().min(1).max(9).nullable() });
  const { choices: [{ message }] } = await client.chat.completions.parse({
    model: "base",
    messages: [{ role: "user", content: "The king" }],
    max_tokens: 400,
    temperature: 0,
    response_format: zodResponseFormat(schema, "thing"),
  });
  assert.ok(["red", "blue"].includes(message.parsed!.colour), JSON.stringify(message));
});

/** As lm-evaluation-harness reads an answer: the sum of a continuation's log-probabilities, and whether it is the greedy one. */
function loglikelihood(
  { logprobs: { token_logprobs, top_logprobs } }: Json,
  context: number,
): [number, boolean] {
  const own: number[] = token_logprobs.slice(context, -1);
  const isGreedy = top_logprobs.slice(context, -1).every((top: Record<string, number>, i: number) => {
    return own[i] === Math.max(...Object.values(top));
  });
  return [own.reduce((sum, one) => sum + one, 0), isGreedy];
}

test("lm-evaluation-harness gets the log-likelihoods of continuations, of texts and of token ids", async () => {
  const ask = async (body: Json): Promise<Json> => {
    const response = await app.request("/v1/completions", { method: "POST", body: JSON.stringify(body) });
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };
  const encode = (text: string): number[] => tokenizer.encode(text);
  const context = "The king", right = " of the", wrong = " banana";
  const greedy = await ask({ model: "base", prompt: context, max_tokens: 2, temperature: 0 });
  const prompts = [greedy.choices[0].text, right, wrong].map((one) => encode(context + one));
  // `loglikelihood`: a batch of token ids, echoed, and one token more that is not looked at.
  const shared = { model: "base", max_tokens: 1, logprobs: 1, seed: 1234, echo: true, temperature: 0 };
  const { choices } = await ask({ ...shared, prompt: prompts });
  const length = encode(context).length;
  const told = choices.map((choice: Json) => loglikelihood(choice, length));
  assert.deepEqual(choices.map(({ index }: Json) => index), [0, 1, 2]);
  choices.forEach(({ logprobs }: Json, i: number) => {
    assert.equal(logprobs.token_logprobs.length, prompts[i].length + 1);
    assert.equal(logprobs.token_logprobs[0], null);
  });
  assert.equal(told[0][1], true, "the greedy continuation is the greedy one");
  assert.equal(told[2][1], false);
  assert.ok(told[1][0] > told[2][0], JSON.stringify(told));
  // The same as a text: one prompt alone, and untokenised.
  const alone = await ask({ ...shared, prompt: context + right });
  const [sum] = loglikelihood(alone.choices[0], length);
  assert.ok(Math.abs(sum - told[1][0]) < 1e-4, `${sum}, ${told[1][0]}`);
  // `generate_until`: prompts in a list, and texts that end the answer.
  const until = await ask({
    ...{ model: "base", prompt: [context, "A man"], max_tokens: 8, temperature: 0, seed: 1234 },
    stop: ["\n\n", "</s>"],
  });
  assert.deepEqual(until.choices.map(({ text }: Json) => typeof text), ["string", "string"]);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Hono } from "hono";
import OpenAI from "openai";
import { DeviceError } from "../src/device/device.ts";
import { ConfigError, NotFoundError, OverloadedError } from "../src/errors.ts";
import { fromTensor, parseSafetensors, toFloat32, writeSafetensors } from "../src/safetensors/mod.ts";
import type { ServerDeps } from "../src/server/deps.ts";
import { createApp } from "../src/server/mod.ts";
import { tensor } from "../src/tensor.ts";
import { demoTokenizer } from "./demo_model.ts";
import { fakeAdapters, type FakeEngine, fakeEngine, type Script } from "./server_fakes.ts";

const tokenizer = await demoTokenizer();
const ids = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });

interface Setup {
  readonly app: Hono;
  readonly engine: FakeEngine;
  readonly logged: string[];
}

function setUp(
  { reply = () => ids(" of the sea 😀."), ...script }: Partial<Script> = {},
  deps: Partial<ServerDeps> = {},
): Setup {
  const engine = fakeEngine({ reply, ...script });
  const logged: string[] = [];
  const app = createApp({
    model: { id: "org/demo", createdUnixSeconds: 1700000000, engine, tokenizer },
    adapters: fakeAdapters(),
    log: (line) => logged.push(line),
    ...deps,
  });
  return { app, engine, logged };
}

// deno-lint-ignore no-explicit-any -- answers are JSON that each test looks into
type Json = any;

function post(app: Hono, path: string, body: unknown, init: RequestInit = {}): Response | Promise<Response> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return app.request(path, { method: "POST", body: text, ...init });
}

async function ask(app: Hono, path: string, body: unknown): Promise<Json> {
  const response = await post(app, path, body);
  const json = await response.json() as Json;
  assert.equal(response.status, 200, JSON.stringify(json));
  return json;
}

function complete(app: Hono, body: Record<string, unknown>): Promise<Json> {
  return ask(app, "/v1/completions", { model: "org/demo", ...body });
}

function chat(app: Hono, body: Record<string, unknown>): Promise<Json> {
  return ask(app, "/v1/chat/completions", {
    model: "org/demo",
    messages: [{ role: "user", content: "The people" }],
    ...body,
  });
}

/** The error object of an answer that must have that status. */
async function refused(response: Response, status: number): Promise<Json> {
  const body = await response.json() as Json;
  assert.equal(response.status, status, JSON.stringify(body));
  assert.deepEqual(Object.keys(body), ["error"]);
  assert.deepEqual(Object.keys(body.error).sort(), ["code", "message", "param", "type"]);
  assert.equal(typeof body.error.message, "string");
  return body.error;
}

/** The data of each server-sent event; `[DONE]` as it is. */
async function streamed(response: Response): Promise<Json[]> {
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
  const text = await response.text();
  assert.ok(text.endsWith("\n\n"));
  return text.slice(0, -2).split("\n\n").map((event) => {
    assert.ok(event.startsWith("data: "), event);
    const data = event.slice(6);
    return data === "[DONE]" ? data : JSON.parse(data);
  });
}

test("GET /health answers always; GET /ready only when new work is taken", async () => {
  let ready = false;
  const { app } = setUp({}, { ready: () => ready });
  assert.equal((await app.request("/health")).status, 200);
  assert.equal((await app.request("/ready")).status, 503);
  ready = true;
  assert.equal((await app.request("/ready")).status, 200);
  assert.equal((await setUp().app.request("/ready")).status, 200);
});

test("POST /v1/completions and chat answer 503 while the server is not ready", async () => {
  const { app, engine } = setUp({}, { ready: () => false });
  for (const path of ["/v1/completions", "/v1/chat/completions"]) {
    const response = await post(app, path, { model: "org/demo", prompt: "a" });
    assert.equal(response.headers.get("retry-after"), "5");
    assert.equal((await refused(response, 503)).code, "not_ready");
  }
  assert.equal(engine.requests.length, 0);
});

const baseCard = {
  id: "org/demo",
  object: "model",
  created: 1700000000,
  owned_by: "fourierft",
  root: "org/demo",
  parent: null,
  max_model_len: 64,
};
const kjvCard = {
  ...baseCard,
  id: "kjv",
  created: 1700000001,
  root: "kjv",
  parent: "org/demo",
  adapter: { peft_type: "FOURIERFT", size_bytes: 8000, digest: "ab12", resident: true, pinned: false },
};
const loraCard = {
  ...kjvCard,
  id: "lora-kjv",
  created: 1700000002,
  root: "lora-kjv",
  adapter: { peft_type: "LORA", size_bytes: 90000, digest: null, resident: false, pinned: false },
};

test("GET /v1/models lists the base and every adapter", async () => {
  const { app } = setUp();
  const list = await (await app.request("/v1/models")).json();
  assert.deepEqual(list, { object: "list", data: [baseCard, kjvCard, loraCard] });
});

test("GET /v1/models without a base lists adapters that have no parent", async () => {
  const { app } = setUp({}, { model: undefined });
  const list = await (await app.request("/v1/models")).json() as Json;
  assert.deepEqual(list.data.map((card: Json) => [card.id, card.parent, card.max_model_len]), [
    ["kjv", null, null],
    ["lora-kjv", null, null],
  ]);
});

test("GET /v1/models/{id} answers for base, adapter and base:adapter, and 404 for others", async () => {
  const { app } = setUp();
  for (const path of ["org/demo", "org%2Fdemo"]) {
    assert.deepEqual(await (await app.request(`/v1/models/${path}`)).json(), baseCard);
  }
  for (const path of ["kjv", "org/demo:kjv", "org%2Fdemo%3Akjv"]) {
    assert.deepEqual(await (await app.request(`/v1/models/${path}`)).json(), kjvCard);
  }
  for (const path of ["nobody", "kjv:org/demo", "org/demo:nobody", "org/demo:org/demo"]) {
    const error = await refused(await app.request(`/v1/models/${path}`), 404);
    assert.equal(error.code, "model_not_found");
  }
});

test("POST /v1/completions answers with text, reason and counts", async () => {
  const { app, engine } = setUp();
  const before = Math.floor(Date.now() / 1000);
  const answer = await complete(app, { prompt: "The people" });
  assert.match(answer.id, /^cmpl-[0-9a-f]{32}$/);
  assert.ok(answer.created >= before && answer.created <= before + 60);
  const tokens = ids(" of the sea 😀.").length;
  assert.deepEqual({ ...answer, id: "", created: 0 }, {
    id: "",
    object: "text_completion",
    created: 0,
    model: "org/demo",
    choices: [{ index: 0, text: " of the sea 😀.", logprobs: null, finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: tokens, total_tokens: 3 + tokens },
  });
  const [request] = engine.requests;
  assert.deepEqual(request.promptTokenIds, tokenizer.encode("The people"));
  assert.equal(request.maxTokens, 16);
  assert.equal(request.adapter, undefined);
  assert.equal(request.logprobs, undefined);
  assert.deepEqual(request.sampling, { temperature: 1, topP: 1, topK: 0 });
  assert.deepEqual(engine.ends, ["done"]);
});

test("POST /v1/completions hands sampling to the engine, with a seed of its own for each choice", async () => {
  const { app, engine } = setUp();
  await complete(app, {
    prompt: "a",
    temperature: 0.5,
    top_p: 0.9,
    top_k: 40,
    seed: -1,
    n: 3,
    max_tokens: 2,
  });
  assert.deepEqual(engine.requests.map(({ sampling }) => sampling), [
    { temperature: 0.5, topP: 0.9, topK: 40, seed: -1n },
    { temperature: 0.5, topP: 0.9, topK: 40, seed: 0n },
    { temperature: 0.5, topP: 0.9, topK: 40, seed: 1n },
  ]);
  await complete(app, { prompt: "a", top_k: -1 });
  assert.equal(engine.requests.at(-1)?.sampling.topK, 0);
  await complete(app, {
    prompt: "a",
    ...{ min_p: 0.1, presence_penalty: -1, frequency_penalty: 0.5, repetition_penalty: 1.2 },
    ...{ logit_bias: { 7: -100, 11: 2.5 }, cache_salt: "s" },
  });
  const { sampling, cacheSalt } = engine.requests.at(-1)!;
  assert.deepEqual([sampling, cacheSalt], [{
    ...{ temperature: 1, topP: 1, topK: 0 },
    ...{ minP: 0.1, presencePenalty: -1, frequencyPenalty: 0.5, repetitionPenalty: 1.2 },
    logitBias: new Map([[7, -100], [11, 2.5]]),
  }, JSON.stringify(["s"])]);
});

test("POST /v1/completions chooses an adapter by its id or by base:adapter, and names it", async () => {
  const { app, engine } = setUp({ reply: ({ adapter }) => ids(` ${adapter}`) });
  for (const model of ["kjv", "org/demo:kjv"]) {
    const answer = await complete(app, { model, prompt: "a" });
    assert.equal(answer.model, "kjv");
    assert.equal(answer.choices[0].text, " kjv");
  }
  assert.deepEqual(engine.requests.map(({ adapter }) => adapter), ["kjv", "kjv"]);
});

test("an adapter of the base's name is asked for by base:adapter", async () => {
  const engine = fakeEngine({ reply: () => ids(" of") });
  const { app } = setUp({}, { model: { id: "kjv", createdUnixSeconds: 1700000000, engine, tokenizer } });
  assert.equal((await complete(app, { model: "kjv", prompt: "a" })).model, "kjv");
  assert.equal((await complete(app, { model: "kjv:kjv", prompt: "a" })).model, "kjv");
  assert.deepEqual(engine.requests.map(({ adapter }) => adapter), [undefined, "kjv"]);
  const { data } = await (await app.request("/v1/models")).json() as Json;
  const cards = data.map(({ id, root, parent }: Json) => [id, root, parent]);
  assert.deepEqual(cards.slice(0, 2), [["kjv", "kjv", null], ["kjv:kjv", "kjv", "kjv"]]);
  assert.equal(new Set(data.map(({ id }: Json) => id)).size, data.length);
});

test("POST /v1/completions takes texts and token ids, one or several", async () => {
  const reply: Script["reply"] = ({ promptTokenIds }) => promptTokenIds.slice(-1);
  const prompts: [unknown, number[][]][] = [
    ["The", [[0, 870]]],
    [["The", "people"], [tokenizer.encode("The"), tokenizer.encode("people")]],
    [[870, 610], [[870, 610]]],
    [[[870], [610, 269]], [[870], [610, 269]]],
    ["", [[0]]],
  ];
  for (const [prompt, expected] of prompts) {
    const { app, engine } = setUp({ reply });
    const answer = await complete(app, { prompt, return_token_ids: true });
    assert.deepEqual(engine.requests.map(({ promptTokenIds }) => promptTokenIds), expected);
    assert.deepEqual(answer.choices.map((one: Json) => one.prompt_token_ids), expected);
    assert.deepEqual(answer.choices.map((one: Json) => one.token_ids), expected.map((one) => one.slice(-1)));
    assert.equal(answer.usage.prompt_tokens, expected.flat().length);
    assert.equal(answer.usage.completion_tokens, expected.length);
  }
});

test("POST /v1/completions runs prompts and choices at once, and answers in order", async () => {
  let started = 0;
  // Later sequences are shorter, so that they end first.
  const { app, engine } = setUp({ reply: () => ids(" word".repeat(6 - started++)) });
  const answer = await complete(app, { prompt: ["a", "b"], n: 3, max_tokens: 20 });
  assert.equal(engine.mostOpen, 6);
  assert.deepEqual(answer.choices.map((one: Json) => one.index), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(
    answer.choices.map((one: Json) => one.text),
    [6, 5, 4, 3, 2, 1].map((count) => " word".repeat(count)),
  );
  assert.equal(answer.usage.prompt_tokens, 4);
  assert.equal(answer.usage.completion_tokens, 21 * ids(" word").length);
});

test("POST /v1/completions stops at stop strings, and ends the sequence", async () => {
  for (const stop of [" sea", [" of the", " sea", "zzz"]]) {
    const { app, engine } = setUp({ reply: () => ids(" and the sea and the land and") });
    const answer = await complete(app, { prompt: "a", stop });
    assert.equal(answer.choices[0].text, " and the");
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.equal(answer.usage.completion_tokens, ids(" and the sea").length);
    assert.deepEqual(engine.ends, ["returned"]);
  }
});

test("POST /v1/completions says length when max_tokens or the context ends the text", async () => {
  const { app } = setUp();
  const answer = await complete(app, { prompt: "a", max_tokens: 2 });
  assert.equal(answer.choices[0].finish_reason, "length");
  assert.equal(answer.usage.completion_tokens, 2);
});

test("POST /v1/completions writes logprobs in OpenAI's shape", async () => {
  const { app, engine } = setUp({ reply: () => [66, 34] });
  const answer = await complete(app, { prompt: "x", logprobs: 2 });
  assert.deepEqual(answer.choices[0].logprobs, {
    text_offset: [0, 1],
    token_logprobs: [-0.66, -0.34],
    tokens: ["b", "B"],
    top_logprobs: [{ A: -0.33, B: -0.34, b: -0.66 }, { A: -0.33, B: -0.34 }],
  });
  assert.equal(engine.requests[0].logprobs, 2);
  assert.equal(engine.requests[0].promptLogprobs, false);
  const own = await complete(app, { prompt: "x", logprobs: 0 });
  assert.deepEqual(own.choices[0].logprobs.top_logprobs, [{ b: -0.66 }, { B: -0.34 }]);
});

test("POST /v1/completions writes a probability of zero as a finite number", async () => {
  const { app, engine } = setUp();
  engine.generate = async function* () {
    yield await Promise.resolve({ kind: "token", tokenId: 66, logprobs: { logprob: -Infinity, top: [] } });
    yield { kind: "end", finishReason: "length" };
  };
  const { choices } = await complete(app, { prompt: "x", logprobs: 0 });
  assert.deepEqual(choices[0].logprobs.token_logprobs, [-9999]);
});

test("POST /v1/completions echoes the prompt, with its log-probabilities when asked", async () => {
  const { app, engine } = setUp({ reply: () => [66] });
  const plain = await complete(app, { prompt: "AB", echo: true });
  assert.equal(plain.choices[0].text, "ABb");
  assert.equal(plain.choices[0].logprobs, null);
  assert.equal(engine.requests[0].promptLogprobs, false);
  const prompt = [0, 33, 34];
  const scored = await complete(app, { prompt, echo: true, logprobs: 1, return_token_ids: true });
  assert.equal(scored.choices[0].text, "ABb");
  assert.deepEqual(scored.choices[0].logprobs, {
    text_offset: [0, 0, 1, 2],
    token_logprobs: [null, -0.33, -0.34, -0.66],
    tokens: ["<|endoftext|>", "A", "B", "b"],
    top_logprobs: [null, { A: -0.33 }, { A: -0.33, B: -0.34 }, { A: -0.33, b: -0.66 }],
  });
  assert.deepEqual(scored.choices[0].token_ids, [66]);
  assert.deepEqual(scored.usage, { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 });
});

test("POST /v1/completions with max_tokens 0 only scores the prompt", async () => {
  const { app, engine } = setUp();
  const answer = await complete(app, { prompt: "AB", echo: true, logprobs: 0, max_tokens: 0 });
  assert.equal(engine.requests[0].maxTokens, 0);
  assert.equal(answer.choices[0].text, "AB");
  assert.equal(answer.choices[0].finish_reason, "length");
  assert.equal(answer.usage.completion_tokens, 0);
});

test("POST /v1/completions streams pieces of whole characters, and [DONE]", async () => {
  const { app } = setUp();
  const response = await post(app, "/v1/completions", {
    model: "kjv",
    prompt: "a",
    stream: true,
    return_token_ids: true,
    logprobs: 0,
  });
  const events = await streamed(response);
  assert.equal(events.pop(), "[DONE]");
  assert.ok(events.length > 3);
  const choices = events.map((event) => event.choices[0]);
  assert.equal(choices.map((one) => one.text).join(""), " of the sea 😀.");
  assert.ok(choices.every((one) => one.text.isWellFormed() && !one.text.includes("\ufffd")));
  assert.deepEqual(choices.flatMap((one) => one.token_ids), ids(" of the sea 😀."));
  assert.deepEqual(choices[0].prompt_token_ids, tokenizer.encode("a"));
  assert.ok(choices.slice(1).every((one) => one.prompt_token_ids === null));
  assert.equal(choices.flatMap((one) => one.logprobs.tokens).length, ids(" of the sea 😀.").length);
  assert.deepEqual(choices.map((one) => one.finish_reason), [...choices.slice(1).map(() => null), "stop"]);
  assert.equal(new Set(events.map((event) => event.id)).size, 1);
  assert.ok(events.every((event) => event.model === "kjv" && event.object === "text_completion"));
  assert.ok(events.every((event) => !("usage" in event)));
});

test("POST /v1/completions streams the same as it answers at once", async () => {
  const body = { prompt: ["AB", "C"], n: 2, echo: true, logprobs: 1, stop: " sea", seed: 1 };
  const whole = await complete(setUp().app, body);
  const response = await post(setUp().app, "/v1/completions", {
    model: "org/demo",
    ...body,
    stream: true,
    stream_options: { include_usage: true },
  });
  const events = await streamed(response);
  assert.equal(events.pop(), "[DONE]");
  const last = events.pop();
  assert.deepEqual(last.choices, []);
  assert.deepEqual(last.usage, whole.usage);
  assert.ok(events.every((event) => event.usage === null));
  for (const choice of whole.choices) {
    const own = events.map((event) => event.choices[0]).filter(({ index }) => index === choice.index);
    assert.equal(own.map(({ text }) => text).join(""), choice.text);
    assert.equal(own.at(-1).finish_reason, choice.finish_reason);
    for (const name of Object.keys(choice.logprobs)) {
      assert.deepEqual(own.flatMap(({ logprobs }) => logprobs[name]), choice.logprobs[name]);
    }
  }
});

test("POST /v1/chat/completions answers with a message by the model's template", async () => {
  const { app, engine } = setUp();
  const answer = await chat(app, {
    messages: [
      { role: "system", content: "A tale." },
      { role: "user", content: [{ type: "text", text: "The" }, { type: "text", text: "people" }] },
    ],
  });
  assert.match(answer.id, /^chatcmpl-[0-9a-f]{32}$/);
  assert.equal(answer.object, "chat.completion");
  assert.deepEqual(answer.choices, [{
    index: 0,
    message: { role: "assistant", content: " of the sea 😀.", refusal: null },
    logprobs: null,
    finish_reason: "stop",
  }]);
  const [request] = engine.requests;
  assert.equal(
    tokenizer.decode(request.promptTokenIds, { skipSpecialTokens: false }),
    "<|endoftext|>A tale.\n\nThe\npeople",
  );
  assert.equal(answer.usage.prompt_tokens, request.promptTokenIds.length);
  assert.equal(request.maxTokens, 64 - request.promptTokenIds.length);
});

test("POST /v1/chat/completions takes max_tokens, or max_completion_tokens before it", async () => {
  const { app, engine } = setUp();
  await chat(app, { max_tokens: 3 });
  await chat(app, { max_tokens: 3, max_completion_tokens: 4, n: 2 });
  assert.deepEqual(engine.requests.map(({ maxTokens }) => maxTokens), [3, 4, 4]);
});

test("POST /v1/chat/completions writes logprobs in its own shape", async () => {
  const partial = ids("😀")[0];
  const { app } = setUp({ reply: () => [66, partial] });
  const answer = await chat(app, { logprobs: true, top_logprobs: 1, return_token_ids: true });
  const top = [{ token: "A", logprob: -0.33, bytes: [65] }];
  assert.deepEqual(answer.choices[0].logprobs, {
    content: [
      { token: "b", logprob: -0.66, bytes: [98], top_logprobs: top },
      { token: "\ufffd", logprob: -partial / 100, bytes: [240], top_logprobs: top },
    ],
    refusal: null,
  });
  assert.deepEqual(answer.choices[0].token_ids, [66, partial]);
  assert.deepEqual(answer.prompt_token_ids, tokenizer.encode("The people"));
  const own = await chat(app, { logprobs: true });
  assert.deepEqual(own.choices[0].logprobs.content[0].top_logprobs, []);
});

test("POST /v1/chat/completions streams deltas, the role first in each choice", async () => {
  const { app } = setUp();
  const events = await streamed(
    await post(app, "/v1/chat/completions", {
      model: "org/demo:kjv",
      messages: [{ role: "user", content: "The" }],
      n: 2,
      stream: true,
      return_token_ids: true,
      stream_options: { include_usage: true },
    }),
  );
  assert.equal(events.pop(), "[DONE]");
  const { usage } = events.pop();
  assert.deepEqual(usage.completion_tokens, 2 * ids(" of the sea 😀.").length);
  assert.deepEqual(events[0].prompt_token_ids, [0, 870]);
  assert.ok(events.slice(1).every((event) => !("prompt_token_ids" in event)));
  for (const index of [0, 1]) {
    const own = events.map((event) => event.choices[0]).filter((choice) => choice.index === index);
    assert.equal(own.map(({ delta }) => delta.content ?? "").join(""), " of the sea 😀.");
    assert.deepEqual(own.map(({ delta }) => delta.role), ["assistant", ...own.slice(1).map(() => undefined)]);
    assert.equal(own.at(-1).finish_reason, "stop");
    assert.ok(own.slice(0, -1).every((choice) => choice.finish_reason === null));
  }
  assert.ok(events.every((event) => event.object === "chat.completion.chunk" && event.model === "kjv"));
});

const user = [{ role: "user", content: "a" }];
const completion = { model: "org/demo", prompt: "a" };
const chatting = { model: "org/demo", messages: user };
const manyTokens = new Array<number>(50).fill(65);

/** Path, body, the field that the answer must name, and a part of the message. */
const refusals: [string, unknown, string | null, RegExp][] = [
  ["/v1/completions", "{", null, /as JSON/],
  ["/v1/completions", "", null, /as JSON/],
  ["/v1/completions", "[]", null, /must be a JSON object/],
  ["/v1/completions", "null", null, /must be a JSON object/],
  ["/v1/completions", { prompt: "a" }, "model", /"model"/],
  ["/v1/completions", { ...completion, model: 3 }, "model", /it must be a text$/],
  ["/v1/completions", { ...completion, model: "" }, "model", /it must not be empty$/],
  [
    "/v1/completions",
    { ...completion, cache_salt: "a".repeat(257) },
    "cache_salt",
    /at most 256 characters$/,
  ],
  ["/v1/completions", { model: "org/demo" }, "prompt", /a text, a list of texts/],
  ["/v1/completions", { ...completion, prompt: null }, "prompt", /a text, a list of texts/],
  ["/v1/completions", { ...completion, prompt: [] }, "prompt", /a text, a list of texts/],
  ["/v1/completions", { ...completion, prompt: [[]] }, "prompt", /empty prompt/],
  ["/v1/completions", { ...completion, prompt: ["a", 1] }, "prompt", /a text, a list of texts/],
  ["/v1/completions", { ...completion, prompt: [1.5] }, "prompt", /a text, a list of texts/],
  [
    "/v1/completions",
    { ...completion, prompt: [65, -1] },
    "prompt[1]",
    /it must be a token id, at least 0, and is -1$/,
  ],
  ["/v1/completions", { ...completion, prompt: [[65], [4096]] }, "prompt", /token id 4096.*0\.\.4095/],
  ["/v1/completions", { ...completion, max_tokens: -1 }, "max_tokens", /it must be at least 0$/],
  ["/v1/completions", { ...completion, max_tokens: 1.5 }, "max_tokens", /int/],
  ["/v1/completions", { ...completion, max_tokens: "9" }, "max_tokens", /it must be a finite number$/],
  ["/v1/completions", { ...completion, max_tokens: 63 }, "max_tokens", /context length is 64 .*has 2 and 63/],
  ["/v1/completions", { ...completion, prompt: manyTokens }, "max_tokens", /has 50 and 16 more/],
  ["/v1/completions", { ...completion, prompt: [...manyTokens, ...manyTokens] }, "prompt", /context length/],
  ["/v1/completions", { ...completion, temperature: -0.1 }, "temperature", /it must be at least 0$/],
  ["/v1/completions", { ...completion, temperature: 2.1 }, "temperature", /it must be at most 2$/],
  ["/v1/completions", { ...completion, top_p: 1.1 }, "top_p", /it must be at most 1$/],
  ["/v1/completions", { ...completion, top_p: 0 }, "top_p", /it must be above 0$/],
  ["/v1/completions", { ...completion, top_k: -2 }, "top_k", /it must be at least -1$/],
  ["/v1/completions", { ...completion, seed: 0.5 }, "seed", /int/],
  ["/v1/completions", { ...completion, n: 0 }, "n", /it must be at least 1$/],
  ["/v1/completions", { ...completion, n: 129 }, "n", /it must be at most 128$/],
  [
    "/v1/completions",
    { ...completion, prompt: new Array(9).fill("a"), n: 128 },
    "n",
    /at most 1024 sequences/,
  ],
  ["/v1/completions", { ...completion, stop: "" }, "stop", /must not be empty/],
  ["/v1/completions", { ...completion, stop: 1 }, "stop", /a text or a list/],
  ["/v1/completions", { ...completion, stop: ["a", ""] }, "stop[1]", /must not be empty/],
  ["/v1/completions", { ...completion, stop: new Array(17).fill("a") }, "stop", /at most 16/],
  ["/v1/completions", { ...completion, logprobs: 21 }, "logprobs", /it must be at most 20$/],
  ["/v1/completions", { ...completion, logprobs: true }, "logprobs", /it must be a finite number$/],
  ["/v1/completions", { ...completion, echo: "yes" }, "echo", /it must be true or false$/],
  ["/v1/completions", { ...completion, stream: 1 }, "stream", /it must be true or false$/],
  ["/v1/completions", { ...completion, stream_options: {} }, "stream_options", /"stream" is not set/],
  ["/v1/completions", { ...completion, best_of: 2 }, "best_of", /not supported/],
  ["/v1/completions", { ...completion, suffix: "b" }, "suffix", /not supported/],
  ["/v1/completions", { ...completion, logit_bias: { 1: 101 } }, "logit_bias.1", /it must be at most 100$/],
  ["/v1/completions", { ...completion, presence_penalty: 2.1 }, "presence_penalty", /it must be at most 2$/],
  [
    "/v1/completions",
    { ...completion, frequency_penalty: -2.1 },
    "frequency_penalty",
    /it must be at least -2$/,
  ],
  ["/v1/completions", { ...completion, repetition_penalty: 0 }, "repetition_penalty", /it must be above 0$/],
  ["/v1/completions", { ...completion, min_p: 1.1 }, "min_p", /it must be at most 1$/],
  ["/v1/completions", { ...completion, ignore_eos: 1 }, "ignore_eos", /it must be true or false$/],
  [
    "/v1/completions",
    { ...completion, adapters: [{ id: "kjv", scale: 2e3 }] },
    "adapters[0].scale",
    /it must be at most 1000$/,
  ],
  ["/v1/completions", { ...completion, temprature: 0 }, "temprature", /no such field/],
  ["/v1/completions", { ...completion, messages: user }, "messages", /no such field/],
  ["/v1/completions", '{"model":"org/demo","prompt":"a","__proto__":{}}', "__proto__", /no such field/],
  ["/v1/chat/completions", { model: "org/demo" }, "messages", /"messages"/],
  ["/v1/chat/completions", { ...chatting, messages: [] }, "messages", /at least 1 message/],
  [
    "/v1/chat/completions",
    { ...chatting, messages: [{ role: "x", content: "" }] },
    "messages[0].role",
    /system/,
  ],
  [
    "/v1/chat/completions",
    { ...chatting, messages: [{ role: "user" }] },
    "messages[0].content",
    /text parts/,
  ],
  [
    "/v1/chat/completions",
    { ...chatting, messages: [...user, { role: "user", content: [{ type: "image_url", image_url: {} }] }] },
    "messages[1].content",
    /text parts/,
  ],
  [
    "/v1/chat/completions",
    { ...chatting, messages: [{ role: "assistant", content: "", tool_calls: [{}] }] },
    "messages[0].tool_calls[0]",
    /a call of a function/,
  ],
  ["/v1/chat/completions", { ...chatting, max_tokens: 0 }, "max_tokens", /it must be at least 1$/],
  ["/v1/chat/completions", { ...chatting, max_completion_tokens: 64 }, "max_tokens", /context length/],
  [
    "/v1/chat/completions",
    { ...chatting, messages: [{ role: "user", content: "x ".repeat(64) }] },
    "messages",
    /context length is 64 .*at least one more is asked/,
  ],
  ["/v1/chat/completions", { ...chatting, logprobs: 1 }, "logprobs", /it must be true or false$/],
  ["/v1/chat/completions", { ...chatting, top_logprobs: 1 }, "top_logprobs", /"logprobs" is not true/],
  [
    "/v1/chat/completions",
    { ...chatting, logprobs: true, top_logprobs: 21 },
    "top_logprobs",
    /it must be at most 20$/,
  ],
  ["/v1/chat/completions", { ...chatting, tools: [{}] }, "tools[0].type", /"function"/],
  ["/v1/chat/completions", { ...chatting, tool_choice: "required" }, "tool_choice", /there are no tools/],
  ["/v1/chat/completions", { ...chatting, functions: [{}] }, "functions", /not supported/],
  [
    "/v1/chat/completions",
    { ...chatting, response_format: { type: "json_object" } },
    "response_format",
    /no engine for grammars/,
  ],
  ["/v1/chat/completions", { ...chatting, prompt: "a" }, "prompt", /no such field/],
];

test("POST /v1/completions and chat refuse by name what they cannot follow, before anything runs", async () => {
  const { app, engine, logged } = setUp();
  for (const [path, body, param, message] of refusals) {
    const error = await refused(await post(app, path, body), 400);
    assert.equal(error.param, param, `${JSON.stringify(body)}: ${error.message}`);
    assert.match(error.message, message);
    assert.equal(error.type, "invalid_request_error");
    if (/context length/.test(error.message)) assert.equal(error.code, "context_length_exceeded");
  }
  assert.equal(engine.requests.length, 0);
  assert.deepEqual(logged, []);
});

test("POST /v1/completions refuses a body that is not UTF-8", async () => {
  const { app } = setUp();
  const body = new Uint8Array([0x7b, 0xff, 0x7d]);
  assert.match(
    (await refused(await app.request("/v1/completions", { method: "POST", body }), 400)).code,
    /json/,
  );
});

test("POST /v1/completions and chat ignore what changes nothing, null and any content type", async () => {
  const { app } = setUp();
  const harmless = {
    user: "u",
    metadata: { a: "b" },
    store: true,
    logit_bias: {},
    presence_penalty: 0,
    frequency_penalty: null,
    stop: null,
    seed: null,
    max_tokens: null,
    top_p: null,
    stream: null,
    stream_options: null,
  };
  await complete(app, { prompt: "a", best_of: 1, suffix: null, logprobs: null, ...harmless });
  await chat(app, {
    tools: [],
    tool_choice: "auto",
    response_format: { type: "text" },
    messages: [{ role: "assistant", content: "a", tool_calls: [], function_call: null, name: "b" }],
    ...harmless,
  });
  const response = await post(app, "/v1/completions", completion, {
    headers: { "content-type": "text/plain" },
  });
  assert.equal(response.status, 200);
});

test("POST /v1/completions answers 404 for an unknown model, and for any without a base", async () => {
  const { app } = setUp();
  for (const model of ["nobody", "org/demo:nobody", "other:kjv", "../kjv"]) {
    const error = await refused(await post(app, "/v1/completions", { ...completion, model }), 404);
    assert.equal(error.code, "model_not_found");
    assert.ok(error.message.includes(`"${model}"`));
  }
  const { app: alone } = setUp({}, { model: undefined });
  const error = await refused(await post(alone, "/v1/completions", { ...completion, model: "kjv" }), 404);
  assert.match(error.message, /no base model/);
});

test("POST /v1/chat/completions answers 400 when the model has no template for the messages", async () => {
  const { app } = setUp({}, {
    model: {
      id: "org/demo",
      createdUnixSeconds: 0,
      engine: fakeEngine({ reply: () => [] }),
      tokenizer: {
        ...tokenizer,
        chatPrompt: () => {
          throw new ConfigError("Cannot write a chat prompt: the model has no chat template");
        },
      },
    },
  });
  const error = await refused(await post(app, "/v1/chat/completions", chatting), 400);
  assert.equal(error.param, "messages");
  assert.match(error.message, /no chat template/);
});

const failures: [Error, number, string, string | null][] = [
  [new RangeError("Cannot use it: too long"), 400, "invalid_request_error", "invalid_value"],
  [new NotFoundError("Cannot find it"), 404, "invalid_request_error", "not_found"],
  [new ConfigError("Cannot read it"), 422, "invalid_request_error", "broken_adapter"],
  [new OverloadedError("Cannot queue it"), 429, "rate_limit_error", "overloaded"],
  [new DeviceError("The device is lost"), 503, "service_unavailable_error", "device_lost"],
];

test("createApp() answers an engine's errors with their status, streaming or not, and ends the others", async () => {
  for (const [error, status, type, code] of failures) {
    for (const stream of [false, true]) {
      const { app, engine } = setUp({ failure: { at: 0, error } });
      const response = await post(app, "/v1/completions", { ...completion, n: 2, stream });
      const retryAfter = response.headers.get("retry-after");
      const told = await refused(response, status);
      assert.deepEqual(told, { message: error.message, type, param: null, code });
      assert.equal(retryAfter !== null, status === 429 || status === 503);
      assert.equal(engine.ends.length, 2);
    }
  }
});

test("createApp() logs a failure of its own and does not tell about it", async () => {
  const secret = new Error("secret at /home/somebody");
  const { app, logged } = setUp({ failure: { at: 0, error: secret } });
  const error = await refused(await post(app, "/v1/completions", completion), 500);
  assert.deepEqual(error, {
    message: "The server failed to answer this request",
    type: "server_error",
    param: null,
    code: null,
  });
  assert.equal(logged.length, 1);
  assert.match(logged[0], /^POST \/v1\/completions failed with 500, request [-\w]+: .*secret/);
});

test("createApp() ends the other sequences when one fails on its way", async () => {
  const error = new DeviceError("The device is lost");
  const { app, engine } = setUp({ failure: { at: 2, error, sequence: 1 }, hangs: true });
  await refused(await post(app, "/v1/completions", { ...completion, n: 3 }), 503);
  await engine.until(() => engine.ends.length === 3);
});

test("createApp() tells of a failure amid a stream by an event, and closes it", async () => {
  const { app, logged } = setUp({ failure: { at: 2, error: new DeviceError("The device is lost") } });
  const events = await streamed(await post(app, "/v1/completions", { ...completion, stream: true }));
  assert.equal(events.length, 3);
  assert.equal(events[0].choices[0].finish_reason, null);
  assert.deepEqual(events[2], {
    error: {
      message: "The device is lost",
      type: "service_unavailable_error",
      param: null,
      code: "device_lost",
    },
  });
  assert.equal(logged.length, 1);
});

test("createApp() ends the sequences of a stream whose reader leaves", async () => {
  const { app, engine, logged } = setUp({ reply: () => [66], hangs: true });
  const response = await post(app, "/v1/completions", { ...completion, n: 2, stream: true });
  const reader = response.body!.getReader();
  await reader.read();
  await reader.read();
  await engine.until(() => engine.hanging === 2);
  assert.deepEqual(engine.ends, []);
  await reader.cancel();
  await engine.until(() => engine.ends.length === 2);
  assert.deepEqual(engine.ends, ["AbortError", "AbortError"]);
  assert.deepEqual(logged, []);
});

test("createApp() ends the sequences of a request that is aborted, streaming or not", async () => {
  for (const stream of [false, true]) {
    const { app, engine, logged } = setUp({ hangs: true });
    const controller = new AbortController();
    const request = new Request("http://localhost/v1/completions", {
      method: "POST",
      body: JSON.stringify({ ...completion, n: 2, stream }),
      signal: controller.signal,
    });
    const answered = Promise.resolve(app.request(request)).then((response) => response.text());
    await engine.until(() => engine.hanging === 2);
    assert.equal(engine.requests.length, 2);
    assert.deepEqual(engine.ends, []);
    controller.abort();
    await answered;
    await engine.until(() => engine.ends.length === 2);
    assert.deepEqual(engine.ends, ["AbortError", "AbortError"]);
    assert.deepEqual(logged, []);
  }
});

test("createApp() refuses bodies above the caps with 413, announced or not", async () => {
  const { app, engine } = setUp({}, { limits: { maxBodyBytes: 100, maxTensorBytes: 200 } });
  const long = JSON.stringify({ ...completion, prompt: "a".repeat(100) });
  const announced = { headers: { "content-length": String(long.length) } };
  for (const init of [{}, announced]) {
    const error = await refused(await post(app, "/v1/completions", long, init), 413);
    assert.equal(error.code, "body_too_large");
  }
  const chunked = new ReadableStream({
    pull(controller) {
      controller.enqueue(new Uint8Array(60).fill(32));
    },
  });
  const init: RequestInit & { duplex: "half" } = { method: "POST", body: chunked, duplex: "half" };
  await refused(await app.request("/v1/completions", init), 413);
  const path = "/v1/adapters/kjv/apply?module=m";
  await refused(await app.request(path, { method: "POST", body: new Uint8Array(201) }), 413);
  assert.equal(engine.requests.length, 0);
});

test("createApp() answers unknown routes with 404 and wrong methods with 405, as OpenAI's objects", async () => {
  const { app } = setUp();
  for (const path of ["/", "/v1", "/v1/audio/speech", "/v1/adapters/kjv", "/v1/completions/x"]) {
    assert.equal((await refused(await app.request(path), 404)).code, "unknown_url");
  }
  const wrong: [string, string, string][] = [
    ["GET", "/v1/completions", "POST"],
    ["GET", "/v1/chat/completions", "POST"],
    ["POST", "/v1/models", "GET"],
    ["DELETE", "/v1/models/kjv", "GET"],
    ["POST", "/v1/adapters/kjv/delta", "GET"],
    ["GET", "/v1/adapters/kjv/apply", "POST"],
    ["POST", "/health", "GET"],
    ["PUT", "/ready", "GET"],
  ];
  for (const [method, path, allowed] of wrong) {
    const response = await app.request(path, { method });
    assert.equal(response.headers.get("allow"), allowed);
    assert.equal((await refused(response, 405)).code, "method_not_allowed");
  }
});

const modulePath = "model.layers.0.self_attn.q_proj";
const query = `module=${modulePath}`;

function tensors(named: Record<string, [number[], number[]]>): Uint8Array<ArrayBuffer> {
  const views = Object.entries(named).map(([name, [data, shape]]) =>
    fromTensor(name, tensor(new Float32Array(data), shape))
  );
  return writeSafetensors(views) as Uint8Array<ArrayBuffer>;
}

async function tensorIn(
  response: Response,
  name: string,
): Promise<{ shape: readonly number[]; data: number[] }> {
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/octet-stream");
  const file = parseSafetensors(new Uint8Array(await response.arrayBuffer()));
  assert.deepEqual([...file.tensors.keys()], [name]);
  const view = file.read(name);
  return { shape: view.shape, data: [...toFloat32(view)] };
}

test("POST /v1/adapters/{id}/apply answers x dW^T, and adds it to y", async () => {
  const { app } = setUp();
  const apply = (body: Uint8Array<ArrayBuffer>, more = ""): Promise<Response> =>
    Promise.resolve(app.request(`/v1/adapters/kjv/apply?${query}${more}`, { method: "POST", body }));
  const x: [number[], number[]] = [[1, 2, 3, 4], [2, 2]];
  const alone = await tensorIn(await apply(tensors({ x })), "y");
  assert.deepEqual(alone, { shape: [2, 3], data: [6, 6, 6, 14, 14, 14] });
  const added = await tensorIn(await apply(tensors({ x, y: [[1, 2, 3, 4, 5, 6], [2, 3]] })), "y");
  assert.deepEqual(added.data, [7, 8, 9, 18, 19, 20]);
  const shaped = await tensorIn(await apply(tensors({ x: [[1, 2, 3, 4], [1, 4]] }), "&shape=2x4"), "y");
  assert.deepEqual(shaped, { shape: [1, 2], data: [20, 20] });
});

test("GET /v1/adapters/{id}/delta answers dW", async () => {
  const { app } = setUp({}, { model: undefined });
  const own = await tensorIn(await app.request(`/v1/adapters/kjv/delta?${query}`), "delta_weight");
  assert.deepEqual(own, { shape: [3, 2], data: [2, 2, 2, 2, 2, 2] });
  const shaped = await app.request(`/v1/adapters/kjv/delta?${query}&shape=1x4`);
  assert.deepEqual((await tensorIn(shaped, "delta_weight")).shape, [1, 4]);
});

test("GET /v1/adapters/{id}/delta refuses a missing module and a bad or huge shape", async () => {
  const { app } = setUp();
  assert.equal((await refused(await app.request("/v1/adapters/kjv/delta"), 400)).param, "module");
  for (
    const shape of ["", "3", "3x", "0x2", "3x-2", "3x2x1", "1e9x2", "3X2", "9999999999x1", "99999x99999"]
  ) {
    const error = await refused(await app.request(`/v1/adapters/kjv/delta?${query}&shape=${shape}`), 400);
    assert.equal(error.param, "shape", shape);
  }
});

test("GET /v1/adapters/{id}/delta answers 404 for an unknown adapter or module", async () => {
  const { app } = setUp();
  for (const path of [`nobody/delta?${query}`, "kjv/delta?module=model.nothing"]) {
    assert.equal((await refused(await app.request(`/v1/adapters/${path}`), 404)).code, "not_found");
  }
});

test("GET /v1/adapters/{id}/delta answers 422 for an adapter whose files are broken", async () => {
  const adapters = fakeAdapters({ delta: () => Promise.reject(new ConfigError('Cannot read field "n"')) });
  const { app } = setUp({}, { adapters });
  assert.equal(
    (await refused(await app.request(`/v1/adapters/kjv/delta?${query}`), 422)).code,
    "broken_adapter",
  );
});

test("POST /v1/adapters/{id}/apply refuses bodies that are not its tensors", async () => {
  const { app } = setUp();
  const half = writeSafetensors([
    fromTensor("x", tensor(new Uint16Array(4), [2, 2], { dtype: "float16" })),
  ]) as Uint8Array<ArrayBuffer>;
  const double = writeSafetensors([
    { name: "x", dtype: "F64", shape: [1, 2], bytes: new Uint8Array(16) },
  ]) as Uint8Array<ArrayBuffer>;
  const bodies: [Uint8Array<ArrayBuffer>, RegExp][] = [
    [new Uint8Array(0), /./],
    [new Uint8Array(20).fill(255), /./],
    [tensors({ y: [[1], [1, 1]] }), /must be "x"/],
    [tensors({ x: [[1, 2], [1, 2]], z: [[1], [1]] }), /"z"/],
    [tensors({ x: [[1, 2, 3], [1, 3]] }), /shape \[1,3\]/],
    [half, /float32/],
    [double, /F64/],
  ];
  for (const [body, message] of bodies) {
    const response = await app.request(`/v1/adapters/kjv/apply?${query}`, { method: "POST", body });
    assert.match((await refused(response, 400)).message, message);
  }
  const body = tensors({ x: [[1, 2], [1, 2]] });
  const huge = await app.request(`/v1/adapters/kjv/apply?${query}&shape=999999999x2`, {
    method: "POST",
    body,
  });
  assert.equal((await refused(huge, 400)).param, "shape");
});

function client(app: Hono): OpenAI {
  return new OpenAI({
    apiKey: "none",
    baseURL: "http://localhost/v1",
    maxRetries: 0,
    fetch: async (input, init) => await app.request(input as string, init),
  });
}

test("createApp() serves the official client: models, completions, chats, their streams and errors", async () => {
  const { app } = setUp();
  const openai = client(app);
  const models: string[] = [];
  for await (const { id } of openai.models.list()) models.push(id);
  assert.deepEqual(models, ["org/demo", "kjv", "lora-kjv"]);
  assert.equal((await openai.models.retrieve("org/demo")).id, "org/demo");

  const whole = await openai.completions.create({ model: "kjv", prompt: "The", max_tokens: 30, logprobs: 1 });
  assert.equal(whole.choices[0].text, " of the sea 😀.");
  let text = "";
  for await (const chunk of await openai.completions.create({ model: "kjv", prompt: "The", stream: true })) {
    text += chunk.choices[0].text;
  }
  assert.equal(text, " of the sea 😀.");

  const messages = [{ role: "user" as const, content: "The" }];
  const said = await openai.chat.completions.create({ model: "org/demo", messages });
  assert.equal(said.choices[0].message.content, " of the sea 😀.");
  const stream = await openai.chat.completions.create({
    model: "org/demo",
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let streamedText = "";
  let total: number | undefined;
  for await (const chunk of stream) {
    streamedText += chunk.choices[0]?.delta.content ?? "";
    total = chunk.usage?.total_tokens ?? total;
  }
  assert.equal(streamedText, " of the sea 😀.");
  assert.equal(total, said.usage?.total_tokens);

  await assert.rejects(
    openai.completions.create({ model: "nobody", prompt: "a" }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
  );
  await assert.rejects(
    openai.completions.create({ model: "kjv", prompt: "a", best_of: 3 }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "best_of",
  );
});

test("createApp() serves the official client's helper for streamed chats", async () => {
  const runner = client(setUp().app).chat.completions.stream({
    model: "kjv",
    messages: [{ role: "user", content: "The" }],
  });
  assert.equal(await runner.finalContent(), " of the sea 😀.");
  const amid = client(setUp({ failure: { at: 2, error: new DeviceError("The device is lost") } }).app);
  const broken = await amid.completions.create({ model: "kjv", prompt: "a", stream: true });
  await assert.rejects(async () => {
    for await (const _ of broken);
  }, /device is lost/i);
});

test("POST /v1/completions continues each prompt by each of several models, and says which", async () => {
  const { app, engine } = setUp({
    reply: ({ adapter }) => ids(adapter === undefined ? " base" : ` ${adapter}`),
  });
  const body = { ...completion, model: "org/demo", prompt: ["a", "b"], n: 2 };
  const models = ["kjv", "org/demo", "org/demo:lora-kjv"];
  const response = await post(app, "/v1/completions", { ...body, models });
  const { choices, model, usage }: Json = await response.json();
  assert.equal(model, "org/demo");
  const names = ["kjv", "org/demo", "lora-kjv"];
  assert.deepEqual(
    choices.map((choice: Json) => [choice.index, choice.model]),
    Array.from({ length: 12 }, (_, i) => [i, names[Math.floor(i / 4)]]),
  );
  assert.deepEqual(engine.requests.map(({ adapter }) => adapter), [
    ...Array(4).fill("kjv"),
    ...Array(4).fill(undefined),
    ...Array(4).fill("lora-kjv"),
  ]);
  assert.equal(
    usage.prompt_tokens,
    2 * (await (await post(app, "/v1/completions", { ...body, prompt: "a" })).json()).usage.prompt_tokens,
  );
  const refusals: [Json, number, string][] = [
    [{ models: ["kjv", "none"] }, 404, "models[1]"],
    [{ model: "kjv", models: ["kjv"] }, 400, "models"],
    [{ models: ["kjv"], adapters: [{ id: "kjv" }] }, 400, "models"],
    [{ models: Array(129).fill("kjv") }, 400, "models"],
    [{ models: Array(128).fill("kjv"), n: 9 }, 400, "models"],
  ];
  for (const [more, status, param] of refusals) {
    const error = await refused(
      await post(app, "/v1/completions", { ...body, prompt: "a", ...more }),
      status,
    );
    assert.equal(error.param, param, JSON.stringify(more).slice(0, 80));
  }
});

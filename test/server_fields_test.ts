import assert from "node:assert/strict";
import { test } from "node:test";
import type { Hono } from "hono";
import { chatShape } from "../src/server/chat.ts";
import { longestRun } from "../src/server/long_runs.ts";
import { completionShape } from "../src/server/completions.ts";
import type { ServerDeps } from "../src/server/deps.ts";
import { createApp } from "../src/server/mod.ts";
import type { Job } from "../src/server/openai.ts";
import { type Part, textOptions } from "../src/server/run.ts";
import { demoTokenizer } from "./demo_model.ts";
import { fakeAdapters, type FakeEngine, fakeEngine } from "./server_fakes.ts";

const tokenizer = await demoTokenizer();

// deno-lint-ignore no-explicit-any -- answers are JSON that each test looks into
type Json = any;

interface Setup {
  readonly app: Hono;
  readonly engine: FakeEngine;
}

function setUp(deps: Partial<ServerDeps> = {}, model: Partial<ServerDeps["model"]> = {}): Setup {
  const engine = fakeEngine({ reply: () => [65, 66, 67] });
  const app = createApp({
    model: { id: "m", createdUnixSeconds: 0, engine, tokenizer, ...model },
    adapters: fakeAdapters(),
    ...deps,
  });
  return { app, engine };
}

const routes = {
  "completions": { model: "m", prompt: "a" },
  "chat/completions": { model: "m", messages: [{ role: "user", content: "a" }] },
} as const;

type Route = keyof typeof routes;

/** Status and JSON of a request with these fields besides those it must have; text is sent as it is. */
async function ask(app: Hono, route: Route, body: Record<string, unknown> | string): Promise<[number, Json]> {
  const text = typeof body === "string" ? body : JSON.stringify({ ...routes[route], ...body });
  const response = await app.request(`/v1/${route}`, { method: "POST", body: text });
  return [response.status, await response.json()];
}

const both: readonly Route[] = ["completions", "chat/completions"];

test("POST /v1/completions and chat hand vLLM's ends to the engine, which they leave out by default", async () => {
  for (const route of both) {
    const { app, engine } = setUp();
    const body = { max_tokens: 3, stop_token_ids: [7, 9], ignore_eos: true, min_tokens: 3 };
    const [status, json] = await ask(app, route, body);
    assert.equal(status, 200, JSON.stringify(json));
    await ask(app, route, { stop_token_ids: [] });
    const [asked, bare] = engine.requests;
    assert.deepEqual([asked.stopTokenIds, asked.ignoreEos, asked.minTokens], [[7, 9], true, 3]);
    assert.deepEqual([bare.stopTokenIds, bare.ignoreEos, bare.minTokens], [undefined, false, 0]);
  }
});

test("POST /v1/completions and chat refuse ends that cannot be: by field, place and rule", async () => {
  const refused: [Record<string, unknown>, string, RegExp][] = [
    [{ stop_token_ids: [4096] }, "stop_token_ids[0]", /0\.\.4095/],
    [{ stop_token_ids: [1, -1] }, "stop_token_ids[1]", /it must be at least 0$/],
    [{ stop_token_ids: [1.5] }, "stop_token_ids[0]", /int/],
    [{ stop_token_ids: new Array(129).fill(1) }, "stop_token_ids", /at most 128/],
    [{ stop_token_ids: 3 }, "stop_token_ids", /it must be a list$/],
    [{ max_tokens: 2, min_tokens: 3 }, "min_tokens", /at most 2 new tokens/],
    [{ min_tokens: -1 }, "min_tokens", /it must be at least 0$/],
    [{ min_tokens: 100 }, "min_tokens", /at most \d+ new tokens/],
    [{ ignore_eos: 1 }, "ignore_eos", /it must be true or false$/],
    [{ model: null }, "model", /of the request: it is missing$/],
    [{ adapters: [{ scale: 1 }] }, "adapters[0].id", /of the request: it is missing$/],
    [{ logit_bias: { x: 1 } }, "logit_bias.x", /of the request: a key must be a token id$/],
    [{ skip_special_tokens: "no" }, "skip_special_tokens", /it must be true or false$/],
    [{ include_stop_str_in_output: 0 }, "include_stop_str_in_output", /it must be true or false$/],
  ];
  const { app, engine } = setUp();
  for (const route of both) {
    for (const [body, param, rule] of refused) {
      const [status, { error }] = await ask(app, route, body);
      assert.equal(status, 400);
      assert.equal(error.param, param);
      assert.match(error.message, rule);
    }
  }
  assert.equal(engine.requests.length, 0);
});

test("completionShape and chatShape say vLLM's stop_reason where a request names stops, and only there", () => {
  const part: Part = {
    index: 0,
    text: "",
    promptTokens: [],
    tokens: [],
    finishReason: "stop",
    stopReason: 7,
    calls: [],
    callsBefore: 0,
  };
  const job = (stop: string[], stopTokenIds?: number[]): Job => ({
    ...{ model: setUp().app, prompts: [[1]], n: 1, stream: false } as unknown as Job,
    requests: [{
      promptTokenIds: [1],
      maxTokens: 1,
      sampling: { temperature: 0, topP: 1, topK: 0 },
      stopTokenIds,
    }],
    stop,
  });
  for (const shape of [completionShape, chatShape]) {
    for (const choice of [shape.choice, (a: Part, b: Job) => shape.chunk(a, b, { first: true })]) {
      assert.equal((choice(part, job([], [7])) as Json).stop_reason, 7);
      assert.equal((choice({ ...part, stopReason: "x" }, job(["x"])) as Json).stop_reason, "x");
      assert.equal((choice({ ...part, stopReason: null }, job(["x"])) as Json).stop_reason, null);
      assert.ok(!("stop_reason" in (choice({ ...part, stopReason: null }, job([])) as Json)));
    }
  }
});

test("textOptions() says whether special tokens and stops are part of the text", () => {
  const job = { model: { tokenizer }, stop: ["x"], echo: true } as unknown as Job;
  assert.deepEqual(textOptions({ ...job, skipSpecialTokens: false, includeStop: true }), {
    tokenizer,
    stop: ["x"],
    echo: true,
    skipSpecialTokens: false,
    includeStop: true,
  });
});

const neutral: Readonly<Record<string, unknown>>[] = [
  { logit_bias: {} },
  { logit_bias: { 5: 0 } },
  { frequency_penalty: 0, presence_penalty: 0, repetition_penalty: 1, length_penalty: 1 },
  { min_p: 0, top_k: -1 },
  { n: 2, best_of: null },
  { prompt_logprobs: null, truncate_prompt_tokens: null },
  { bad_words: [], allowed_token_ids: null, logits_processors: null },
  { use_beam_search: false, early_stopping: false },
  { response_format: { type: "text" }, structured_outputs: null },
  { spaces_between_special_tokens: false, skip_special_tokens: true },
  { priority: 0, cache_salt: "x", vllm_xargs: {}, kv_transfer_params: null },
  { return_tokens_as_token_ids: false, return_token_ids: null },
  { max_repetition_pattern_size: 0, min_repetition_pattern_size: 0, repetition_min_count: 0 },
  { user: "u", metadata: {}, store: false, service_tier: "auto", parallel_tool_calls: true },
  { stream: false, stream_options: null },
  { min_tokens: 0, stop_token_ids: null, ignore_eos: false, include_stop_str_in_output: false },
  { adapters: [], lora: [], models: [] },
];

test("POST /v1/completions and chat take every value that asks for nothing", async () => {
  const { app } = setUp();
  const own: Record<Route, Readonly<Record<string, unknown>>[]> = {
    "completions": [{ suffix: "" }, { echo: false }, { best_of: 1 }, { n: 2, best_of: 2 }, {
      add_special_tokens: true,
    }],
    "chat/completions": [
      { logprobs: false, top_logprobs: 0 },
      { top_logprobs: 0 },
      { reasoning_effort: "none" },
      { reasoning_effort: null, include_reasoning: true, verbosity: "medium" },
      { modalities: ["text"], audio: null, prediction: null, web_search_options: null },
      { tools: [], tool_choice: "none", functions: [], function_call: "auto" },
      { documents: [], chat_template_kwargs: {}, chat_template: null, mm_processor_kwargs: {} },
      { add_generation_prompt: true, continue_final_message: false, add_special_tokens: false, echo: false },
    ],
  };
  for (const route of both) {
    for (const body of [...neutral, ...own[route]]) {
      const [status, json] = await ask(app, route, body);
      assert.equal(status, 200, `${JSON.stringify(body)}: ${JSON.stringify(json)}`);
    }
  }
});

test("POST /v1/completions and chat refuse by name every value that asks for more than is done", async () => {
  const { app } = setUp();
  const asking: [Route, Record<string, unknown>][] = [
    ...both.flatMap((route): [Route, Record<string, unknown>][] => [
      [route, { response_format: { type: "grammar" } }],
      [route, { bad_words: ["x"] }],
      [route, { allowed_token_ids: [1] }],
      [route, { priority: 1 }],
      [route, { prompt_logprobs: 0 }],
      [route, { return_tokens_as_token_ids: true }],
    ]),
    ["completions", { best_of: 2 }],
    ["completions", { add_special_tokens: false }],
    ["chat/completions", { reasoning_effort: "low" }],
    ["chat/completions", { verbosity: "low" }],
    ["chat/completions", { chat_template_kwargs: { enable_thinking: false } }],
    ["chat/completions", { top_logprobs: 1 }],
  ];
  for (const [route, body] of asking) {
    const [status, { error }] = await ask(app, route, body);
    assert.equal(status, 400, JSON.stringify(body));
    assert.equal(error.param.split(".")[0], Object.keys(body)[0]);
  }
  for (const options of [{ include_obfuscation: true }, { usage: true }]) {
    const [status, { error }] = await ask(app, "completions", { stream: true, stream_options: options });
    assert.equal(status, 400);
    assert.equal(error.param, `stream_options.${Object.keys(options)[0]}`);
  }
});

async function chunksOf(app: Hono, route: Route, body: Record<string, unknown>): Promise<Json[]> {
  const text = JSON.stringify({ ...routes[route], ...body, stream: true });
  const response = await app.request(`/v1/${route}`, { method: "POST", body: text });
  const events = (await response.text()).trim().split("\n\n");
  assert.equal(events.pop(), "data: [DONE]");
  return events.map((event) => JSON.parse(event.slice(6)));
}

test("POST /v1/completions and chat count in every chunk by continuous_usage_stats, each choice its own", async () => {
  for (const route of both) {
    const { app } = setUp();
    const chunks = await chunksOf(app, route, {
      n: 2,
      stream_options: { include_usage: true, continuous_usage_stats: true },
    });
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.completion_tokens, 6);
    for (const index of [0, 1]) {
      const own = chunks.filter((chunk) => chunk.choices[0].index === index);
      const counted = own.map(({ usage }) => usage.completion_tokens);
      assert.equal(counted.at(-1), 3);
      assert.deepEqual(counted, counted.toSorted());
      for (const { usage } of own) {
        assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
        assert.equal(usage.prompt_tokens, last.usage.prompt_tokens);
      }
    }
    const [only] = await chunksOf(app, route, { stream_options: { continuous_usage_stats: true } });
    assert.equal(typeof only.usage.prompt_tokens, "number");
    const [without] = await chunksOf(app, route, { stream_options: { continuous_usage_stats: false } });
    assert.ok(!("usage" in without));
  }
});

test("POST /v1/completions hands seeds of 64 bits to the engine to the last digit", async () => {
  const { app, engine } = setUp();
  const seeds = [
    "0",
    "7",
    "-1",
    "4294967295",
    "4294967303",
    "1152921504606846976",
    "1152921504606846977",
    "9223372036854775807",
    "-9223372036854775808",
    "1e18",
    "9.223372036854775807e18",
  ];
  for (const seed of seeds) {
    const [status, json] = await ask(app, "completions", `{"model":"m","prompt":"a","seed":${seed}}`);
    assert.equal(status, 200, JSON.stringify(json));
  }
  const used = engine.requests.map(({ sampling }) => sampling.seed!);
  const exact = [...seeds.slice(0, -2).map(BigInt), 10n ** 18n, 2n ** 63n - 1n];
  assert.deepEqual(used, exact);
  const refused = [
    "9223372036854775808",
    "-9223372036854775809",
    "1e19",
    "1.5",
    '"7"',
    "true",
    // Rounded to integers they would be, in silence.
    "1152921504606846977.5",
    '7,"se\\u0065d":1152921504606846977',
  ];
  for (const seed of refused) {
    const [status, { error }] = await ask(app, "completions", `{"model":"m","prompt":"a","seed":${seed}}`);
    assert.equal(status, 400, seed);
    assert.match(error.message, /"seed".*integer of 64 bits/);
  }
});

test("POST /v1/completions gives choice k the seed of a request whose seed is k more", async () => {
  const { app, engine } = setUp();
  await ask(app, "completions", '{"model":"m","prompt":"a","n":2,"seed":9007199254740993}');
  await ask(app, "completions", '{"model":"m","prompt":"a","seed":9007199254740994}');
  await ask(app, "completions", '{"model":"m","prompt":"a","n":2,"seed":9223372036854775807}');
  const used = engine.requests.map(({ sampling }) => sampling.seed);
  const [first, last] = [9007199254740993n, 9223372036854775807n];
  assert.deepEqual(used, [first, first + 1n, first + 1n, last, last + 1n]);
});

test("POST /v1/completions and chat name the answer by request_id", async () => {
  const { app } = setUp();
  assert.equal((await ask(app, "completions", { request_id: "a-1" }))[1].id, "cmpl-a-1");
  assert.equal((await ask(app, "chat/completions", { request_id: "a-1" }))[1].id, "chatcmpl-a-1");
  assert.equal((await ask(app, "completions", { request_id: "a\n" }))[0], 400);
});

/** What the tokenizer is given for these messages. */
async function prompted(messages: unknown[]): Promise<Json[]> {
  let given: Json[] = [];
  const chatPrompt: typeof tokenizer.chatPrompt = (all, options) => {
    given = [...all];
    return tokenizer.chatPrompt(all, options);
  };
  const { app } = setUp({}, { tokenizer: { ...tokenizer, chatPrompt } });
  const [status, json] = await ask(app, "chat/completions", { messages });
  assert.equal(status, 200, JSON.stringify(json));
  return given;
}

test("POST /v1/chat/completions takes what a history repeats: no text, no calls, no refusal", async () => {
  const user = { role: "user", content: "a" };
  const histories = [
    { role: "assistant", content: null },
    { role: "assistant" },
    { role: "assistant", content: null, refusal: null, annotations: [], audio: null, tool_calls: null },
    { role: "assistant", content: "", tool_calls: [], function_call: null },
    { role: "assistant", content: [] },
  ];
  for (const history of histories) {
    const [, said] = await prompted([user, history, user]);
    assert.deepEqual(said, { role: "assistant", content: "" });
  }
  const [, thought] = await prompted([user, { role: "assistant", content: "b", reasoning_content: "c" }]);
  assert.deepEqual(thought, { role: "assistant", content: "b", reasoning_content: "c" });
  const part = { type: "text", text: "b", cache_control: { type: "ephemeral" } };
  assert.deepEqual(await prompted([{ role: "user", content: [part, part], name: "n" }]), [
    { role: "user", content: "b\nb", name: "n" },
  ]);
});

test("POST /v1/chat/completions refuses messages by the first fault, its path and rule", async () => {
  const user = { role: "user", content: "a" };
  const refused: [unknown, string, RegExp][] = [
    ["a", "messages", /list/],
    [[], "messages", /at least 1 message/],
    [[user, 3], "messages[1]", /object/],
    [[user, []], "messages[1]", /object/],
    [[{ ...user, content: null }], "messages[0].content", /text/],
    [[{ ...user, content: ["a"] }], "messages[0].content", /text parts/],
    [[{ ...user, content: [{ type: "text" }] }], "messages[0].content.text", /text/],
    [[{ ...user, name: 3 }], "messages[0].name", /text/],
    [[{ ...user, tool_call_id: "x" }], "messages[0].tool_call_id", /no such field/],
    [[{ role: "assistant", refusal: "no" }], "messages[0].refusal", /not supported/],
    [[{ role: "function", content: "a" }], "messages[0].role", /it is "function"/],
    [new Array(2049).fill(user), "messages", /at most 2048/],
  ];
  const { app } = setUp();
  for (const [messages, param, rule] of refused) {
    const [status, { error }] = await ask(app, "chat/completions", { messages });
    assert.equal(status, 400);
    assert.equal(error.param, param);
    assert.match(error.message, rule);
  }
});

test("POST /v1/completions and chat refuse a text that cannot fit before it is tokenised", async () => {
  const encoded: string[] = [];
  const strict: typeof tokenizer = {
    ...tokenizer,
    fewestTokens: (text) => Math.ceil(text.length / 10),
    encode: () => assert.fail("texts of requests are tokenised in slices"),
    encodeAsync(text, options) {
      encoded.push(text);
      return tokenizer.encodeAsync(text, options);
    },
  };
  const { app } = setUp({}, { tokenizer: strict });
  const long = "a".repeat(700);
  for (
    const [route, body] of [
      ["completions", { prompt: long }],
      ["completions", { prompt: ["a", long] }],
      ["chat/completions", { messages: [{ role: "user", content: long }] }],
    ] as [Route, Record<string, unknown>][]
  ) {
    const [status, { error }] = await ask(app, route, body);
    assert.equal(status, 400);
    assert.equal(error.code, "context_length_exceeded");
    assert.match(error.message, /the prompt has at least \d+/);
  }
  assert.deepEqual(encoded, ["a"]);
  assert.equal((await ask(app, "completions", {}))[0], 200);
});

test("POST /v1/completions and chat refuse a word of a million letters before it is tokenised", async () => {
  const never = () => assert.fail("it was tokenised");
  const { app } = setUp({}, {
    tokenizer: { ...tokenizer, fewestTokens: () => 1, encode: never, encodeAsync: never },
  });
  const word = "a".repeat(longestRun + 2 ** 15);
  const refused = /it has more than 1048576 letters, digits, blanks or other signs in a row/;
  const prompt = await ask(app, "completions", { prompt: word });
  const messages = await ask(app, "chat/completions", { messages: [{ role: "user", content: word }] });
  for (const [[status, { error }], param] of [[prompt, "prompt"], [messages, "messages"]] as const) {
    assert.equal(status, 400);
    assert.equal(error.param, param);
    assert.match(error.message, refused);
  }
});

test("POST /v1/completions refuses a list of ids by its length before it looks at each", async () => {
  const { app } = setUp();
  const ids = [...new Array(100).fill(65), -1];
  for (const prompt of [ids, [[65], ids]]) {
    const [status, { error }] = await ask(app, "completions", { prompt });
    assert.equal(status, 400);
    assert.equal(error.code, "context_length_exceeded");
  }
});

test("POST /v1/completions asks the adapters for no name that is longer than any", async () => {
  const card = (): never => assert.fail("no adapter has such a name");
  const { app } = setUp({ adapters: fakeAdapters({ card }) });
  assert.equal((await ask(app, "completions", { model: "a".repeat(2000) }))[0], 404);
});

test("POST /v1/completions counts what a body is parsed to, and gives it back", async () => {
  const { app } = setUp({ limits: { memoryBytes: 20_000 } });
  for (let i = 0; i < 5; i++) assert.equal((await ask(app, "completions", {}))[0], 200);
  const [status, { error }] = await ask(app, "completions", { user: "u".repeat(5000) });
  assert.equal(status, 429);
  assert.match(error.message, /of the 20000 for all requests are in use/);
});

test("POST /v1/completions stops tokenising when the client leaves", async () => {
  const leaving = new AbortController();
  let given: AbortSignal | undefined;
  const slow: typeof tokenizer = {
    ...tokenizer,
    encodeAsync: (_, { signal } = {}) => {
      given = signal;
      return new Promise((_, reject) => {
        signal!.addEventListener("abort", () => reject(signal!.reason), { once: true });
        leaving.abort();
      });
    },
  };
  const { app, engine } = setUp({}, { tokenizer: slow });
  const body = JSON.stringify(routes.completions);
  const request = new Request("http://localhost/v1/completions", {
    method: "POST",
    body,
    signal: leaving.signal,
  });
  await (await app.request(request)).text();
  assert.equal(given!.aborted, true);
  assert.equal(engine.requests.length, 0);
});

test("createApp() says back no more than some of what was sent", async () => {
  const long = "a".repeat(1_000_000);
  const { app } = setUp();
  const bodies: [Route, Record<string, unknown>][] = [
    ["completions", { model: long }],
    ["completions", { [long]: 1 }],
    ["completions", { stream: true, stream_options: { [long]: 1 } }],
    ["chat/completions", { messages: [{ role: long }] }],
    ["chat/completions", { messages: [{ role: "user", content: "a", [long]: 1 }] }],
    ["completions", { stop: long }],
    ["completions", { seed: long }],
  ];
  const answers = [
    ...await Promise.all(bodies.map(async ([route, body]) => (await ask(app, route, body))[1])),
    (await ask(app, "completions", long))[1],
    await (await app.request(`/v1/models/${long}`)).json(),
    await (await app.request(`/${long}`)).json(),
    await (await app.request(`/v1/adapters/kjv/delta?module=${long}`)).json(),
    await (await app.request(`/v1/adapters/kjv/delta?module=a&shape=${long}`)).json(),
  ];
  for (const { error } of answers) {
    assert.ok(error.message.length < 400, error.message.slice(0, 60));
    assert.ok((error.param ?? "").length < 200);
  }
});

test("createApp() refuses a body of too many parts by name", async () => {
  const { app } = setUp();
  const bodies = [
    `{"model":"m","prompt":${"[".repeat(1000)}`,
    `{"model":"m","messages":[${"{},".repeat(20_000)}{}]}`,
    `{"model":"m","prompt":[${"1,".repeat(300_000)}1]}`,
    `{${Array.from({ length: 20_000 }, (_, i) => `"${i}":1`).join(",")}}`,
  ];
  for (const body of bodies) {
    const [status, { error }] = await ask(app, "completions", body);
    assert.equal(status, 400);
    assert.equal(error.code, "too_complex");
  }
});

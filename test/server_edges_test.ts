/**
 * Requests at the edges of their rules: every field that is not supported, and lengths that just fit.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Hono } from "hono";
import { breathe } from "../src/breathe.ts";
import { MemoryBudget } from "../src/server/budget.ts";
import { merge } from "../src/server/merge.ts";
import { createApp } from "../src/server/mod.ts";
import { promptsOf } from "../src/server/prompts.ts";
import { demoTokenizer } from "./demo_model.ts";
import { fakeAdapters, fakeEngine } from "./server_fakes.ts";

const tokenizer = await demoTokenizer();
const engine = fakeEngine({ reply: () => [65], maxModelLen: 16 });
const model = { id: "m", createdUnixSeconds: 0, engine, tokenizer };
const app = createApp({ model, adapters: fakeAdapters() });

const routes = {
  "completions": { prompt: "a" },
  "chat/completions": { messages: [{ role: "user", content: "a" }] },
} as const;
type Route = keyof typeof routes;
const both = Object.keys(routes) as Route[];

interface Answer {
  readonly status: number;
  readonly error?: { readonly param: string; readonly code: string; readonly message: string };
}

async function ask(to: Hono, route: Route, body: Record<string, unknown>): Promise<Answer> {
  const response = await to.request(`/v1/${route}`, {
    method: "POST",
    body: JSON.stringify({ model: "m", max_tokens: 1, ...routes[route], ...body }),
  });
  const { error } = await response.json() as Answer;
  return { status: response.status, error };
}

/** Fields that are not supported, with values that ask for something. */
const asking: Readonly<Record<Route | "both", Readonly<Record<string, readonly unknown[]>>>> = {
  both: {
    length_penalty: [0],
    max_repetition_pattern_size: [1],
    min_repetition_pattern_size: [1],
    repetition_min_count: [1],
    repetition_detection: [{}],
    truncate_prompt_tokens: [1, -1],
    truncation_side: ["left"],
    prompt_logprobs: [0, 1],
    logprob_token_ids: [[], [1]],
    return_tokens_as_token_ids: [true],
    allowed_token_ids: [[], [1]],
    bad_words: [["a"]],
    use_beam_search: [true],
    early_stopping: [true],
    logits_processors: [["a"]],
    priority: [1],
    kv_transfer_params: [{ a: 1 }],
    vllm_xargs: [{ a: 1 }],
    lora: [["a"]],
  },
  "completions": {
    best_of: [2],
    suffix: ["a"],
    prompt_embeds: [["a"]],
    add_special_tokens: [false],
  },
  "chat/completions": {
    models: [["a"]],
    functions: [[{}]],
    function_call: [{ name: "f" }],
    modalities: [["audio"], []],
    audio: [{}],
    moderation: [{}],
    prediction: [{}],
    reasoning_effort: ["low", "medium"],
    include_reasoning: [1],
    thinking_token_budget: [1],
    verbosity: ["low"],
    web_search_options: [{}],
    echo: [true],
    add_special_tokens: [true],
    add_generation_prompt: [false],
    continue_final_message: [true],
    chat_template: ["a"],
    chat_template_kwargs: [{ a: 1 }],
    chat_template_content_format: ["openai"],
    mm_processor_kwargs: [{ a: 1 }],
    media_io_kwargs: [{ a: 1 }],
    documents: [[{}]],
  },
};

test("POST /v1/completions and chat refuse each field that is not supported, where it asks for something", async () => {
  for (const route of both) {
    for (const [field, values] of Object.entries({ ...asking.both, ...asking[route] })) {
      for (const value of values) {
        const { status, error } = await ask(app, route, { [field]: value });
        assert.deepEqual([status, error?.param, error?.code], [400, field, "unsupported_field"], field);
        assert.equal(error?.message, `Cannot follow "${field}" of the request: it is not supported`);
      }
    }
  }
});

test("POST /v1/completions and chat take the values that are the defaults of OpenAI's and vLLM's own servers", async () => {
  const defaults: Readonly<Record<Route | "both", readonly Record<string, unknown>[]>> = {
    both: [
      { structured_outputs: null, kv_transfer_params: {}, vllm_xargs: {}, logit_bias: {} },
      {
        safety_identifier: "a",
        prompt_cache_key: "a",
        prompt_cache_options: {},
        prompt_cache_retention: "24h",
      },
    ],
    "completions": [{ prompt_embeds: [] }],
    "chat/completions": [
      { include_reasoning: false, tool_choice: "auto", function_call: "none" },
      { chat_template_content_format: "auto", media_io_kwargs: {} },
      { chat_template_content_format: "string" },
    ],
  };
  for (const route of both) {
    for (const body of [...defaults.both, ...defaults[route]]) {
      assert.equal((await ask(app, route, body)).status, 200, JSON.stringify(body));
    }
  }
});

test("POST /v1/completions says which field is too long for the context: the prompt alone, or with what it asks for", async () => {
  const words = (count: number): string => " the".repeat(count);
  assert.equal(tokenizer.encode(words(15)).length, 16);
  const asked: [Record<string, unknown>, string | undefined, RegExp][] = [
    [{ prompt: words(14), max_tokens: 1 }, undefined, /^/],
    [{ prompt: words(14), max_tokens: 2 }, "max_tokens", /the prompt has 15 and 2 more are asked for$/],
    [{ prompt: words(15), max_tokens: 1 }, "prompt", /the prompt has 16 and 1 more is asked for$/],
    [{ prompt: words(15), max_tokens: 0, echo: true }, undefined, /^/],
  ];
  for (const [body, param, message] of asked) {
    const { status, error } = await ask(app, "completions", body);
    assert.deepEqual([status, error?.param], [param ? 400 : 200, param], JSON.stringify(body));
    assert.match(error?.message ?? "", message);
  }
});

test("POST /v1/completions refuses by fewest tokens: the prompt where these fill the context, else what is asked for", async () => {
  for (const [fewest, param] of [[15, "max_tokens"], [16, "prompt"], [17, "prompt"]] as const) {
    const counted = { ...tokenizer, fewestTokens: () => fewest };
    const strict = createApp({ model: { ...model, tokenizer: counted }, adapters: fakeAdapters() });
    const { status, error } = await ask(strict, "completions", { max_tokens: 2 });
    assert.deepEqual([status, error?.param, error?.code], [400, param, "context_length_exceeded"]);
    assert.match(error!.message, new RegExp(`the prompt has at least ${fewest} and 2 more`));
  }
});

test("promptsOf() of many short texts lets others have their turn, and ends when the client leaves", async () => {
  const { now } = performance;
  let ms = 0;
  Object.assign(performance, { now: () => ms += 6 });
  try {
    const leaving = new AbortController();
    let encoded = 0;
    const counted = {
      ...tokenizer,
      encodeAsync: () => (encoded++, Promise.resolve([1])),
    };
    const reading = promptsOf(Array(100).fill("a"), {
      model: { ...model, tokenizer: counted },
      field: "prompt",
      maxTokens: 1,
      hold: new MemoryBudget(2 ** 20).hold(),
      signal: leaving.signal,
    });
    void breathe().then(() => leaving.abort(new Error("left")));
    await assert.rejects(reading, { message: "left" });
    assert.ok(encoded < 50, `${encoded}`);
  } finally {
    Object.assign(performance, { now });
  }
});

test("merge() ends sources that can be ended when its reader leaves, and leaves the others", async () => {
  let ended = 0;
  const items = { next: () => Promise.resolve({ done: false, value: 7 }) };
  const plain: AsyncIterable<number> = { [Symbol.asyncIterator]: () => items };
  const endable: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => ({
      ...items,
      return: () => (ended++, Promise.reject(new Error("too late"))),
    }),
  };
  for await (const { item } of merge([plain, endable])) {
    assert.equal(item, 7);
    break;
  }
  assert.equal(ended, 1);
});

/**
 * `adapters` of requests: sums by transformers and PEFT, in one batch with others, and refusals that name the field.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { cpuDevice, type Device, generateText, openModel } from "../mod.ts";
import { openAdapterStore, openFolder } from "../src/runtime/mod.ts";
import { createApp } from "../src/server/mod.ts";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

interface GoldenCase {
  readonly adapters: Readonly<Record<string, number>>;
  readonly prompt: string;
  readonly token_ids: readonly number[];
}

const golden: { readonly max_tokens: number; readonly cases: readonly GoldenCase[] } = JSON.parse(
  readFileSync(here("fixtures/combination_golden.json"), "utf8"),
);

async function openDemo(device: Device) {
  const { engine, tokenizer, registry } = await openModel(device, {
    folder: await openFolder(here("../examples/demo/base")),
    adapters: await openAdapterStore(here("../examples/demo/adapters")),
  });
  const logged: string[] = [];
  const app = createApp({
    model: { id: "demo", createdUnixSeconds: 1700000000, engine, tokenizer },
    adapters: registry,
    log: (line) => logged.push(line),
  });
  return { app, engine, tokenizer, registry, logged };
}

const demo = await openDemo(cpuDevice());
const { app } = demo;

// deno-lint-ignore no-explicit-any -- answers are JSON that each test looks into
type Json = any;

const post = (path: string, body: object): Promise<Response> =>
  Promise.resolve(app.request(path, { method: "POST", body: JSON.stringify(body) }));

async function tokensOf(body: object, max = golden.max_tokens): Promise<Json> {
  const request = {
    model: "demo",
    prompt: "The king",
    temperature: 0,
    max_tokens: max,
    return_token_ids: true,
  };
  const response = await post("/v1/completions", { ...request, ...body });
  const answer: Json = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  return { ids: answer.choices[0].token_ids, ...answer };
}

const listOf = (adapters: Readonly<Record<string, number>>) =>
  Object.entries(adapters).map(([id, scale]) => ({ id, scale }));

test("completions of sums of adapters are those of PEFT's weights, in one batch with others and alone", async () => {
  const ask = ({ adapters, prompt }: GoldenCase) => tokensOf({ adapters: listOf(adapters), prompt });
  const others = ["demo", "fourierft-kjv", "lora-kjv", "dora-kjv-r2"].map((model) => tokensOf({ model }));
  const together = await Promise.all(golden.cases.map(ask));
  for (const [i, one] of golden.cases.entries()) {
    const name = `${JSON.stringify(one.adapters)}, "${one.prompt}"`;
    assert.deepEqual(together[i].ids, one.token_ids, name);
    assert.deepEqual((await ask(one)).ids, one.token_ids, `${name}, alone`);
    assert.equal(together[i].model, "demo");
    assert.equal(together[i].usage.completion_tokens, golden.max_tokens);
  }
  for (const [i, model] of ["demo", "fourierft-kjv", "lora-kjv", "dora-kjv-r2"].entries()) {
    assert.deepEqual((await others[i]).ids, (await tokensOf({ model })).ids, model);
  }
});

test("completions with adapters at scale 1, 0, in parts, and none are those of the names", async () => {
  const id = "fourierft-kjv", named = (await tokensOf({ model: id })).ids, base = (await tokensOf({})).ids;
  assert.notDeepEqual(named, base);
  for (
    const adapters of [
      [{ id }],
      [{ id: `demo:${id}`, scale: 1 }],
      [{ id, scale: 0.25 }, { id, scale: 0.75 }],
      [{ id }, { id: "lora-kjv", scale: 0 }],
    ]
  ) assert.deepEqual((await tokensOf({ adapters })).ids, named, JSON.stringify(adapters));
  for (const adapters of [[], null, [{ id, scale: 0 }], [{ id, scale: 2 }, { id, scale: -2 }]]) {
    assert.deepEqual((await tokensOf({ adapters })).ids, base, JSON.stringify(adapters));
  }
  // An adapter that can only be alone.
  const dora = "dora-kjv-r2";
  assert.deepEqual((await tokensOf({ adapters: [{ id: dora }] })).ids, (await tokensOf({ model: dora })).ids);
});

test("chat and streams take adapters, and models and their cards stay as they are", async () => {
  const before = await (await app.request("/v1/models")).json();
  const adapters = [{ id: "fourierft-kjv", scale: 0.5 }, { id: "lora-kjv", scale: 0.5 }];
  const body = {
    model: "demo",
    adapters,
    messages: [{ role: "user", content: "The king" }],
    ...{ max_tokens: 8, temperature: 0 },
  };
  const chat: Json = await (await post("/v1/chat/completions", body)).json();
  const plain: Json = await (await post("/v1/chat/completions", { ...body, adapters: [] })).json();
  assert.notEqual(chat.choices[0].message.content, plain.choices[0].message.content);
  const text = await (await post("/v1/chat/completions", { ...body, stream: true })).text();
  const pieces = text.split("\n\n").filter((line) => line.startsWith("data: {")).map((line) =>
    JSON.parse(line.slice(6)).choices[0].delta.content ?? ""
  );
  assert.equal(pieces.join(""), chat.choices[0].message.content);
  const after: Json = await (await app.request("/v1/models")).json();
  const ids = (list: Json) => list.data.map((card: Json) => card.id);
  assert.deepEqual(ids(after), ids(before));
});

const refusals: [object, number, string | null, RegExp][] = [
  [
    { adapters: [{ id: "dora-kjv-r2", scale: 0.5 }] },
    400,
    "adapters",
    /"dora-kjv-r2".*DoRA.*alone, at scale 1/,
  ],
  [{ adapters: [{ id: "lora-kjv" }, { id: "dora-kjv-r2" }] }, 400, "adapters", /"dora-kjv-r2"/],
  [{ model: "lora-kjv", adapters: [{ id: "lora-kjv" }] }, 400, "adapters", /names an adapter already/],
  [{ adapters: [{ id: "demo" }] }, 400, "adapters[0].id", /it is the base model/],
  [{ adapters: [{ id: "lora-kjv" }, { id: "nope" }] }, 404, "adapters[1].id", /adapters\[1\].id "nope"/],
  [{ adapters: [{ id: "../lora-kjv" }] }, 404, "adapters[0].id", /no such adapter/],
  [{ adapters: [{ scale: 1 }] }, 400, "adapters[0].id", /it is missing$/],
  [{ adapters: [{ id: "lora-kjv", scale: 1e4 }] }, 400, "adapters[0].scale", /it must be at most 1000$/],
  [{ adapters: [{ id: "lora-kjv", scale: -1e4 }] }, 400, "adapters[0].scale", /it must be at least -1000$/],
  [{ adapters: [{ id: "lora-kjv", scale: "1" }] }, 400, "adapters[0].scale", /it must be a finite number$/],
  [{ adapters: [{ id: "lora-kjv", weight: 1 }] }, 400, "adapters[0].weight", /no such field/],
  [{ adapters: ["lora-kjv"] }, 400, "adapters[0]", /it must be an object$/],
  [{ adapters: { id: "lora-kjv" } }, 400, "adapters", /it must be a list$/],
  [{ adapters: Array.from({ length: 9 }, () => ({ id: "lora-kjv" })) }, 400, "adapters", /list of at most 8/],
  // llama.cpp's field has numbers of a list that the server's start made.
  [{ lora: [{ id: 0, scale: 0.5 }] }, 400, "lora", /not supported/],
];

test("completions and chat refuse adapters by the field and the rule", async () => {
  for (const [body, status, param, message] of refusals) {
    for (const stream of [false, true]) {
      for (
        const [path, more] of [
          ["/v1/completions", { prompt: "a" }],
          ["/v1/chat/completions", { messages: [{ role: "user", content: "a" }] }],
        ] as const
      ) {
        const response = await post(path, { model: "demo", max_tokens: 1, stream, ...more, ...body });
        const { error }: Json = await response.json();
        assert.equal(response.status, status, JSON.stringify(error));
        assert.equal(error.param, param, error.message);
        assert.match(error.message, message);
        assert.equal(error.type, "invalid_request_error");
      }
    }
  }
  assert.deepEqual(demo.logged, []);
});

test("generateText takes a list of adapters", async () => {
  const [one] = golden.cases;
  const request = {
    promptTokenIds: demo.tokenizer.encode(one.prompt),
    adapter: listOf(one.adapters),
    maxTokens: golden.max_tokens,
    sampling: { temperature: 0, topP: 1, topK: 0 },
  };
  const ids: number[] = [];
  for await (const { tokens } of generateText(demo.engine, request, { tokenizer: demo.tokenizer })) {
    ids.push(...tokens.map(({ tokenId }) => tokenId));
  }
  assert.deepEqual(ids, one.token_ids);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type * as z from "zod";
import {
  ApiError,
  type ChatRequest,
  type CompletionRequest,
  createClient,
  type EmbeddingRequest,
} from "../src/client/mod.ts";
import type { ServerDeps } from "../src/server/deps.ts";
import type { embeddingsBody } from "../src/server/encoding.ts";
import { createApp } from "../src/server/mod.ts";
import type { chatBody, completionBody } from "../src/server/schema.ts";
import { tensor } from "../src/tensor.ts";
import { demoTokenizer } from "./demo_model.ts";
import { fakeAdapters, fakeEngine, type Script } from "./server_fakes.ts";

const tokenizer = await demoTokenizer();

/** Names of a server's schema, without those that the client adds itself. */
type Fields<Schema extends z.ZodType> = Exclude<keyof z.input<Schema>, "stream" | "stream_options">;
type Same<A, B> = [A] extends [B] ? [B] extends [A] ? true : never : never;
/** Fails to compile where a field of the server has none of the client's, or the other way. */
const fields: [
  Same<Fields<typeof completionBody>, keyof CompletionRequest>,
  Same<Fields<typeof chatBody>, keyof ChatRequest>,
  Same<Fields<typeof embeddingsBody>, keyof EmbeddingRequest>,
] = [true, true, true];

function setUp(deps: Partial<ServerDeps> = {}, script: Partial<Script> = {}) {
  const engine = fakeEngine({ reply: () => [65, 66], ...script });
  const app = createApp({
    model: { id: "org/m", createdUnixSeconds: 0, engine, tokenizer },
    adapters: fakeAdapters(),
    ...deps,
  });
  const asked: Request[] = [];
  const client = createClient({
    baseUrl: "http://localhost:8000/v1/",
    token: "token-of-a-1234567",
    fetch: (input, init) => {
      const request = new Request(input, init);
      asked.push(request);
      return Promise.resolve(app.fetch(request));
    },
  });
  return { client, engine, asked };
}

test("createClient() completes, chats and streams as the server answers", async () => {
  assert.deepEqual(fields, [true, true, true]);
  const { client, asked, engine } = setUp();
  const whole = await client.complete({ model: "kjv", prompt: "a", max_tokens: 2 }, { requestId: "mine" });
  assert.deepEqual([whole.model, whole.choices.length, whole.usage?.completion_tokens], ["kjv", 1, 2]);
  assert.equal(asked[0].headers.get("x-request-id"), "mine");
  assert.equal(asked[0].headers.get("authorization"), "Bearer token-of-a-1234567");
  let text = "", counted = 0;
  for await (
    const { choices, usage } of client.streamCompletion({ model: "kjv", prompt: "a", max_tokens: 2 }, {
      include_usage: true,
    })
  ) {
    text += choices[0]?.text ?? "";
    counted = usage?.completion_tokens ?? counted;
  }
  assert.deepEqual([text, counted], [whole.choices[0].text, 2]);
  const messages = [{ role: "user", content: "a" }];
  const { choices: [{ message }] } = await client.chat({ model: "org/m", messages, max_tokens: 2 });
  let said = "";
  for await (const { choices } of client.streamChat({ model: "org/m", messages, max_tokens: 2 })) {
    said += choices[0].delta.content ?? "";
  }
  assert.equal(said, message.content);
  assert.equal(engine.requests.length, 4);
});

test("createClient() lists cards, and applies adapters' tensors", async () => {
  const { client } = setUp();
  const { data } = await client.models();
  assert.deepEqual(data.map(({ id }) => id), ["org/m", "kjv", "lora-kjv"]);
  assert.deepEqual((await client.models({ limit: 1, after: "kjv" })).data.map(({ id }) => id), ["lora-kjv"]);
  assert.equal((await client.model("org/m")).parent, null);
  assert.equal((await client.model("org/m:kjv")).id, "kjv");
  const module = "model.layers.0.self_attn.q_proj";
  const x = tensor(new Float32Array([1, 2]), [1, 2]), y = tensor(new Float32Array([1, 1, 1]), [1, 3]);
  assert.deepEqual([...(await client.apply("kjv", module, { x })).data], [6, 6, 6]);
  assert.deepEqual([...(await client.apply("kjv", module, { x, y })).data], [7, 7, 7]);
  assert.deepEqual((await client.delta("kjv", module, { shape: { out: 4, in: 5 } })).shape, [4, 5]);
});

test("createClient() throws what the server refuses, also amid a stream", async () => {
  const { client } = setUp({}, { failure: { at: 1, error: new Error("broke") } });
  await assert.rejects(client.model("nope/../x"), (error: ApiError) => {
    assert.deepEqual([error.status, error.code, error.type], [
      404,
      "model_not_found",
      "invalid_request_error",
    ]);
    assert.match(error.requestId!, /^[0-9a-f-]{36}$/);
    return error instanceof ApiError;
  });
  await assert.rejects(client.complete({ model: "org/m", prompt: "a", n: 0 }), { status: 400, param: "n" });
  const texts: string[] = [];
  await assert.rejects(async () => {
    for await (const { choices } of client.streamCompletion({ model: "org/m", prompt: "a" })) {
      texts.push(choices[0].text);
    }
  }, { name: "ApiError", status: 0, type: "server_error" });
  const busy = setUp({ ready: () => false });
  await assert.rejects(busy.client.complete({ model: "org/m", prompt: "a" }), {
    status: 503,
    retryAfterSeconds: 5,
  });
  const proxy = createClient({
    baseUrl: "http://localhost",
    fetch: () => Promise.resolve(new Response("<html>bad gateway", { status: 502 })),
  });
  await assert.rejects(proxy.models(), { message: "The server answered with status 502", status: 502 });
  const cut = createClient({
    baseUrl: "http://localhost",
    fetch: () => Promise.resolve(new Response('data: {"choices":[]}\n\n')),
  });
  await assert.rejects(async () => {
    for await (const _ of cut.streamCompletion({ model: "m", prompt: "a" }));
  }, /The stream ended before its last event/);
  assert.throws(() => createClient({ baseUrl: "nowhere" }), TypeError);
});

test("createClient() ends the request when a stream is left", async () => {
  const { client, engine } = setUp({}, { hangs: true });
  for await (const _ of client.streamCompletion({ model: "org/m", prompt: "a" })) break;
  await engine.until(() => engine.ends.length === 1);
  assert.deepEqual(engine.ends, ["AbortError"]);
});

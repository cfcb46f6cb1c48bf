/**
 * Rules of requests that one value alone decides: statuses, seeds, messages, stops, tensors, and what is left behind.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { HTTPException } from "hono/http-exception";
import { DeviceError } from "../src/device/device.ts";
import { ConfigError, NotFoundError, OverloadedError } from "../src/errors.ts";
import { fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { readBytes } from "../src/server/body.ts";
import { MemoryBudget } from "../src/server/budget.ts";
import { answerTo, InvalidRequestError, TooSlowError } from "../src/server/errors.ts";
import { exactSeed } from "../src/server/json_bounds.ts";
import { limitsOf } from "../src/server/limits.ts";
import { loadingApp } from "../src/server/loading.ts";
import { merge, started } from "../src/server/merge.ts";
import { messagesOf } from "../src/server/messages.ts";
import { createApp } from "../src/server/mod.ts";
import { OpenRequests } from "../src/server/open_requests.ts";
import { tensor } from "../src/tensor.ts";
import { demoTokenizer } from "./demo_model.ts";
import { fakeAdapters, fakeEngine } from "./server_fakes.ts";

const tokenizer = await demoTokenizer();
const engine = fakeEngine({ reply: () => [65, 66] });
const model = { id: "m", createdUnixSeconds: 0, engine, tokenizer };
const app = createApp({ model, adapters: fakeAdapters() });

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const error = async (response: Response) => (await response.json()).error;

async function complete(body: Record<string, unknown> | string, to = app): Promise<[number, string, string]> {
  const text = typeof body === "string" ? body : JSON.stringify({ model: "m", prompt: "a", ...body });
  const response = await to.request("/v1/completions", { method: "POST", body: text });
  const told = (await response.json()).error;
  return [response.status, told?.param, told?.message];
}

test("exactSeed() reads no other text, key or depth than the seed of the outermost object", () => {
  const seed = "1152921504606846977";
  const seedIn = (text: string): bigint | undefined => exactSeed(bytesOf(text));
  for (
    const before of ["", '"a":[1,{"b":[]}],', '"a":{"b":{}},', '"seed":[2],', '"a":"\\"{[",', '"a":[[]],']
  ) {
    assert.equal(seedIn(`{${before}"seed":${seed}}`), BigInt(seed), before);
    assert.equal(seedIn(`{${before}"seed" : ${seed} ,"b":1}`), BigInt(seed), before);
  }
  const none = ["see", "seeds", "sead", "xeed", "Seed", "s\\u0065ed", ""].map((key) => `{"${key}":${seed}}`);
  for (
    const text of [
      ...none,
      `[{"seed":${seed}}]`,
      `{"a":[{"seed":${seed}}]}`,
      `{"seed":"x:${seed}}"}`,
      `{"a":"seed","b":${seed}}`,
      `{"seed":[${seed}]}`,
      `{"seed":${seed}.5}`,
      `{"seed":${seed}e-1}`,
      `{"seed":${seed}e1x}`,
    ]
  ) {
    assert.equal(seedIn(text), undefined, text);
  }
});

test("exactSeed() reads integers that are written with a point or an exponent", () => {
  const seedIn = (text: string): bigint | undefined => exactSeed(bytesOf(`{"seed":${text}}`));
  assert.equal(seedIn("1152921504606846977e1"), 11529215046068469770n);
  assert.equal(seedIn("-11529215046068469.77E+2"), -1152921504606846977n);
  assert.equal(seedIn("115292150460684697.70e1"), 1152921504606846977n);
  assert.equal(seedIn("7.000"), 7n);
  assert.equal(seedIn("1.25e1"), undefined);
  assert.equal(seedIn("1.25e2"), 125n);
});

test("POST /v1/completions reads the seed again only where it was rounded", async () => {
  const asked = async (seed: string): Promise<unknown> => {
    const [status, , message] = await complete(`{"model":"m","prompt":"a","seed":${seed}}`);
    assert.equal(status, 200, message);
    return BigInt(engine.requests.at(-1)!.sampling.seed!);
  };
  const small = await asked("7");
  assert.equal(await asked("7.0"), small);
  assert.equal(await asked("70e-1"), small);
  assert.notEqual(await asked("9007199254740993"), await asked("9007199254740992"));
  for (const seed of ["1e30", "0.5", "18446744073709551616"]) {
    const [status, param] = await complete(`{"model":"m","prompt":"a","seed":${seed}}`);
    assert.deepEqual([status, param], [400, "seed"], seed);
  }
});

test("POST /v1/completions says what a body is that is no JSON object, or no UTF-8", async () => {
  for (const body of ["3", "null", '"x"', "[]", "true"]) {
    const response = await app.request("/v1/completions", { method: "POST", body });
    assert.deepEqual(await error(response), {
      message: "Cannot read the request's body: it must be a JSON object",
      type: "invalid_request_error",
      param: null,
      code: "invalid_json",
    });
  }
  const wrong = Uint8Array.of(...bytesOf('{"model":"'), 0xff, ...bytesOf('"}'));
  const response = await app.request("/v1/completions", { method: "POST", body: wrong });
  assert.equal(response.status, 400);
  assert.equal((await error(response)).code, "invalid_json");
});

test("messagesOf() takes what histories repeat, and refuses each field by its path", () => {
  const told = (message: unknown) => messagesOf([message], 1)[0];
  const user = { role: "user", content: "a" };
  for (
    const extra of [
      { refusal: "" },
      { refusal: null },
      { annotations: [] },
      { tool_calls: [] },
      { tool_calls: null, function_call: null, audio: null },
    ]
  ) {
    assert.deepEqual(told({ ...user, ...extra }), user);
  }
  const named = { ...user, name: "n", reasoning: "r", reasoning_content: "c" };
  assert.deepEqual(told(named), named);
  assert.deepEqual(told({ role: "assistant", content: null }), { role: "assistant", content: "" });
  assert.deepEqual(told({ role: "assistant" }), { role: "assistant", content: "" });
  const parts = [{ type: "text", text: "a", cache_control: {} }, { type: "text", text: "b" }];
  assert.equal(told({ role: "user", content: parts }).content, "a\nb");
  const refused: [unknown, string, RegExp][] = [
    [{ ...user, name: 3 }, "messages[0].name", /must be a text/],
    [{ ...user, tool_calls: [1] }, "messages[0].tool_calls", /only an assistant's message/],
    [{ ...user, tool_calls: {} }, "messages[0].tool_calls", /a list of at most 128 calls/],
    [{ role: "assistant", tool_calls: [1] }, "messages[0].tool_calls[0]", /a call of a function/],
    [{ ...user, function_call: [] }, "messages[0].function_call", /calls are "tool_calls"/],
    [{ ...user, refusal: "no" }, "messages[0].refusal", /there is no such field/],
    [{ ...user, annotations: [1] }, "messages[0].annotations", /there is no such field/],
    [{ ...user, annotations: "" }, "messages[0].annotations", /there is no such field/],
    [{ ...user, other: "" }, "messages[0].other", /there is no such field/],
    [{ ...user, other: [] }, "messages[0].other", /there is no such field/],
    [{ role: "user", content: null }, "messages[0].content", /a text or a list of text parts/],
    [{ role: "assistant", content: 3 }, "messages[0].content", /a text or a list of text parts/],
    [{ role: "user", content: [null] }, "messages[0].content", /only text is supported/],
    [{ role: "user", content: ["a"] }, "messages[0].content", /only text is supported/],
    [{ role: "user", content: [[]] }, "messages[0].content", /only text is supported/],
    [{ role: "user", content: [{ type: "text", text: 1 }] }, "messages[0].content.text", /must be a text/],
    [{ role: "tool", content: "a", tool_call_id: 5 }, "messages[0].tool_call_id", /must be a text/],
    [{ role: "function", content: "a" }, "messages[0].role", /user, assistant, tool, it is "function"$/],
    [{ role: 3, content: "a" }, "messages[0].role", /developer, user, assistant, tool$/],
    [[], "messages[0]", /it must be an object/],
    [null, "messages[0]", /it must be an object/],
    ["a", "messages[0]", /it must be an object/],
  ];
  for (const [message, param, rule] of refused) {
    assert.throws(() => told(message), (error: InvalidRequestError) => {
      assert.ok(error instanceof InvalidRequestError, `${error}`);
      assert.equal(error.param, param);
      assert.match(error.message, rule);
      return true;
    });
  }
  assert.equal(messagesOf([user, user], 2).length, 2);
  assert.throws(() => messagesOf([user, user, user], 2), /at most 2 messages, it has 3/);
  assert.throws(() => messagesOf([], 2), /at least 1 message/);
  assert.throws(() => messagesOf({}, 2), /must be a list/);
});

test("answerTo() gives each kind of error its status, type, code and headers", () => {
  const told = (error: unknown): unknown[] => {
    const { status, body, headers } = answerTo(error);
    return [status, body.error.type, body.error.code, headers];
  };
  const http = (status: number, message?: string): HTTPException =>
    new HTTPException(status as 400, { message });
  assert.deepEqual(told(http(400)), [400, "invalid_request_error", null, {}]);
  assert.deepEqual(told(http(401)), [401, "authentication_error", null, {}]);
  assert.deepEqual(told(http(499)), [499, "invalid_request_error", null, {}]);
  assert.deepEqual(told(http(500)), [500, "server_error", null, {}]);
  assert.deepEqual(told(http(503)), [503, "server_error", null, {}]);
  assert.equal(answerTo(http(402)).body.error.message, "Cannot answer this request: it was refused with 402");
  assert.equal(answerTo(http(402, "pay")).body.error.message, "pay");
  const res = new Response("x", { headers: { "x-a": "b", "content-length": "1", "content-type": "a/b" } });
  assert.deepEqual(answerTo(new HTTPException(403, { res })).headers, { "x-a": "b" });
  const late = answerTo(new TooSlowError("x"));
  assert.deepEqual([late.status, late.headers], [408, { connection: "close" }]);
  assert.deepEqual(answerTo(new InvalidRequestError("x")).headers, {});
  assert.deepEqual(Object.keys(answerTo(new OverloadedError("x")).headers), ["retry-after"]);
  assert.deepEqual(
    [new NotFoundError("x"), new ConfigError("x"), new OverloadedError("x"), new DeviceError("x")].map((
      one,
    ) => answerTo(one).status),
    [404, 422, 429, 503],
  );
  const unknown = "The server failed to answer this request";
  for (const error of [new Error("secret"), Object.assign(new Error("s"), { status: 418 }), "text", null]) {
    const { status, body } = answerTo(error);
    assert.deepEqual([status, body.error.message, body.error.type], [500, unknown, "server_error"]);
  }
  assert.equal(answerTo(new InvalidRequestError("y".repeat(500))).body.error.message.length < 460, true);
});

test("loadingApp() lives, and takes no work: 503 with retry-after, as OpenAI's object", async () => {
  const app = loadingApp();
  assert.equal((await app.request("/health")).status, 200);
  const ready = await app.request("/ready");
  assert.deepEqual([ready.status, ready.headers.get("retry-after"), (await ready.json()).status], [
    503,
    "5",
    "loading",
  ]);
  for (const [method, path] of [["POST", "/v1/completions"], ["GET", "/v1/models"], ["GET", "/metrics"]]) {
    const response = await app.request(path, { method });
    assert.deepEqual([response.status, response.headers.get("retry-after")], [503, "5"]);
    assert.equal((await response.json()).error.code, "not_ready");
  }
});

test("GET /health and /ready say how the server is", async () => {
  const get = async (path: string, to = app): Promise<unknown[]> => {
    const response = await to.request(path);
    return [response.status, await response.json(), response.headers.get("retry-after")];
  };
  assert.deepEqual(await get("/health"), [200, { status: "ok" }, null]);
  assert.deepEqual(await get("/ready"), [200, { status: "ready" }, null]);
  const requests = new OpenRequests();
  await requests.drain(1);
  const draining = createApp({ model, adapters: fakeAdapters(), requests });
  assert.deepEqual(await get("/ready", draining), [503, { status: "not ready" }, "5"]);
  assert.deepEqual(await get("/health", draining), [200, { status: "ok" }, null]);
});

test("createApp() without a log answers a failure of its own all the same", async () => {
  const failing = createApp({
    model: {
      ...model,
      engine: fakeEngine({ reply: () => [], failure: { at: 0, error: new Error("secret") } }),
    },
    adapters: fakeAdapters(),
  });
  assert.deepEqual((await complete({}, failing)).slice(0, 1), [500]);
});

test("POST /v1/completions takes sixteen stop strings of 512 characters, and refuses more by the rule", async () => {
  const stops = (count: number, length = 1) => ({ stop: Array(count).fill("~".repeat(length)) });
  assert.equal((await complete(stops(16, 512)))[0], 200);
  assert.equal((await complete({ stop: "~".repeat(512) }))[0], 200);
  const rule = "it must be a text or a list of at most 16 texts";
  const refused: [Record<string, unknown>, string, string][] = [
    [stops(17), "stop", rule],
    [{ stop: 3 }, "stop", rule],
    [{ stop: {} }, "stop", rule],
  ];
  for (const [body, param, message] of refused) {
    assert.deepEqual(await complete(body), [400, param, `Cannot read "${param}" of the request: ${message}`]);
  }
  const [status, , long] = await complete(stops(1, 513));
  assert.deepEqual([status, /at most 512 characters$/.test(long)], [400, true]);
  assert.equal((await complete({ stop: "~".repeat(513) }))[0], 400);
  assert.deepEqual(await complete({ request_id: "a b" }), [
    400,
    "request_id",
    'Cannot read "request_id" of the request: it must be of printable ASCII characters without spaces',
  ]);
  assert.match(
    (await complete({ stream: true, stream_options: { include_obfuscation: true } }))[2],
    /obfuscation is not supported/,
  );
});

test("POST /v1/completions starts as many sequences as it may, and no more", async () => {
  const small = createApp({ model, adapters: fakeAdapters(), limits: { maxSequencesPerRequest: 6 } });
  assert.equal((await complete({ prompt: ["a", "b", "c"], n: 2 }, small))[0], 200);
  assert.equal((await complete({ prompt: [65, 66, 67, 68], n: 6 }, small))[0], 200);
  assert.deepEqual((await complete({ prompt: ["a", "b", "c"], n: 3 }, small)).slice(0, 2), [400, "n"]);
  assert.deepEqual((await complete({ prompt: [[1], [2]], n: 4 }, small)).slice(0, 2), [400, "n"]);
});

test("POST /v1/completions takes ids up to the context's length, counts them, and refuses what is no id", async () => {
  const ids = (count: number): number[] => Array(count).fill(65);
  assert.equal((await complete({ prompt: ids(63), max_tokens: 1 }))[0], 200);
  assert.deepEqual((await complete({ prompt: ids(64), max_tokens: 1 })).slice(0, 2), [400, "prompt"]);
  assert.equal((await complete({ prompt: ids(64), max_tokens: 0, echo: true }))[0], 200);
  for (const bad of ["a", 1.5, null, [], {}]) {
    assert.deepEqual((await complete({ prompt: [65, bad] })).slice(0, 2), [400, "prompt"], `${bad}`);
  }
});

const file = (shape: number[]): Uint8Array<ArrayBuffer> =>
  writeSafetensors([
    fromTensor("x", tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape)),
  ]) as Uint8Array<ArrayBuffer>;

const module = "model.layers.0.self_attn.q_proj";

test("GET /v1/adapters/{id}/delta answers a tensor of just the bytes that it may have", async () => {
  const of = (maxTensorBytes: number) =>
    createApp({ model, adapters: fakeAdapters(), limits: { maxTensorBytes } })
      .request(`/v1/adapters/kjv/delta?module=${module}&shape=4x6`);
  assert.equal((await of(96)).status, 200);
  const refused = await of(95);
  assert.equal(refused.status, 400);
  assert.match((await error(refused)).message, /shape \[4,6\]: it has 96 bytes, at most 95 are written/);
});

test("GET /v1/adapters/{id}/delta takes paths of 512 characters, and shapes of nine digits", async () => {
  const get = async (query: string) => await error(await app.request(`/v1/adapters/kjv/delta?${query}`));
  assert.equal((await get(`module=${"a".repeat(512)}`)).code, "not_found");
  const long = await get(`module=${"a".repeat(513)}`);
  assert.deepEqual([long.param, long.code], ["module", "invalid_value"]);
  for (const shape of ["1ax2", "1x2a", "1-x1", "1x1.", " 1x1", "1x1 "]) {
    assert.equal((await get(`module=${module}&shape=${encodeURIComponent(shape)}`)).param, "shape", shape);
  }
  assert.match((await get(`module=${module}&shape=999999999x1`)).message, /shape \[999999999,1\]/);
});

test("POST /v1/adapters/{id}/apply counts a result's rows, and gives the memory back", async () => {
  const adapters = fakeAdapters({ linear: () => ({ out: 3, in: 2 }) });
  const of = (maxTensorBytes: number) => createApp({ model, adapters, limits: { maxTensorBytes } });
  const apply = (to: ReturnType<typeof of>, shape: number[]) =>
    to.request(`/v1/adapters/kjv/apply?module=${module}`, { method: "POST", body: file(shape) });
  assert.equal((await apply(of(600), [50, 2])).status, 200);
  const wide = createApp({
    model,
    adapters: fakeAdapters({ linear: () => ({ out: 100, in: 2 }) }),
    limits: { maxTensorBytes: 600 },
  });
  const refused = await apply(wide, [2, 2]);
  assert.equal(refused.status, 400);
  assert.match((await error(refused)).message, /shape \[2,100\]: it has 800 bytes, at most 600/);
});

test("createApp() takes origins that are whole, null and *, and hosts with a port or without", async () => {
  const allow = (entries: object) => createApp({ model, adapters: fakeAdapters(), access: entries });
  for (const origin of ["*", "null", "https://a.example", "http://localhost:8000", "app+x.y-z://host"]) {
    allow({ cors: [origin], allowedOrigins: [origin] });
  }
  for (
    const origin of [
      "https://a.example/",
      "a.example",
      "1https://a",
      " https://a",
      "https://A",
      "x https://a",
    ]
  ) {
    assert.throws(() => allow({ cors: [origin] }), { name: "RangeError" }, origin);
    assert.throws(() => allow({ allowedOrigins: [origin] }), { name: "RangeError" }, origin);
  }
  const answered = await allow({ cors: ["https://a.example"] })
    .request("/health", { headers: { origin: "https://a.example" } });
  assert.equal(answered.headers.get("access-control-expose-headers"), "retry-after,x-request-id");
  const hosts = allow({ allowedHosts: ["a.example", "b.example:80"] });
  const status = async (host: string) => (await hosts.request("/v1/models", { headers: { host } })).status;
  assert.deepEqual(
    [await status("a.example"), await status("A.example:1234"), await status("b.example:80")],
    [200, 200, 200],
  );
  assert.deepEqual([await status("b.example"), await status("b.example:8080")], [403, 403]);
});

test("GET /v1/models/{id} asks for names of 1024 characters, and none longer; other failures are told", async () => {
  const asked: string[] = [];
  const card = (id: string): Promise<never> => {
    asked.push(id);
    return Promise.reject(id === "broken" ? new ConfigError("Cannot read x") : new NotFoundError("none"));
  };
  const some = createApp({ model, adapters: fakeAdapters({ card }) });
  const status = async (id: string, to = some) => (await to.request(`/v1/models/${id}`)).status;
  assert.equal(await status("a".repeat(1024)), 404);
  assert.equal(await status("a".repeat(1025)), 404);
  assert.deepEqual(asked, ["a".repeat(1024)]);
  assert.equal(await status("broken"), 422);
  assert.equal(await status("m:x"), 404);
  assert.equal(asked.at(-1), "x");
  const bare = createApp({ adapters: fakeAdapters({ card }) });
  assert.equal(await status("undefined:x", bare), 404);
  assert.equal(asked.at(-1), "undefined:x");
});

test("limitsOf() takes each default, and refuses what is no number", () => {
  assert.deepEqual(limitsOf(), {
    maxBodyBytes: 4194304,
    maxTensorBytes: 67108864,
    memoryBytes: 268435456,
    maxRequests: 2048,
    maxMessages: 2048,
    maxPromptTokens: Infinity,
    maxSequencesPerRequest: 1024,
    tensorRuns: 1,
    tensorQueue: 16,
    bodySeconds: 30,
    minBodyBytesPerSecond: 65536,
    requestSeconds: 600,
    queueSeconds: Infinity,
    maxHeaderBytes: 65536,
    readerSeconds: 60,
  });
  assert.equal(limitsOf({ tensorQueue: 0 }).tensorQueue, 0);
  for (const value of ["5", NaN, null, 0, -1]) {
    assert.throws(() => limitsOf({ maxRequests: value as never }), { name: "RangeError" }, String(value));
  }
});

/** A body that gives these chunks, and then fails. */
function failing(chunks: readonly Uint8Array[]): Request {
  const source = [...chunks];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const chunk = source.shift();
      if (chunk) controller.enqueue(chunk);
      else controller.error(new Error("reset"));
    },
  });
  return new Request("http://localhost/", { method: "POST", body, duplex: "half" } as RequestInit);
}

const bodyOptions = () => ({
  maxBytes: 10,
  hold: new MemoryBudget(2 ** 20).hold(),
  signal: new AbortController().signal,
  limits: { bodySeconds: 60, minBodyBytesPerSecond: 1 },
});

test("readBytes() takes just as many bytes as it may, and none of a request without a body", async () => {
  const post = (body: BodyInit) => new Request("http://localhost/", { method: "POST", body });
  assert.equal((await readBytes(post(new Uint8Array(10)), bodyOptions())).length, 10);
  assert.equal((await readBytes(new Request("http://localhost/"), bodyOptions())).length, 0);
});

test("readBytes() says that a connection ended, and what has left is not waited for", async () => {
  await assert.rejects(readBytes(failing([new Uint8Array(3)]), bodyOptions()), {
    message: "Cannot read the request's body: the connection ended before it",
    code: "incomplete_body",
  });
  const reason = new Error("left");
  await assert.rejects(
    readBytes(failing([new Uint8Array(3)]), { ...bodyOptions(), signal: AbortSignal.abort(reason) }),
    reason,
  );
});

test("readBytes() leaves no timer and no listener behind", async () => {
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const timers = new Set<unknown>(), listeners = new Set<unknown>();
  Object.assign(globalThis, {
    setTimeout: (...args: Parameters<typeof set>) => {
      const timer = set(...args);
      timers.add(timer);
      return timer;
    },
    clearTimeout: (timer: number) => (timers.delete(timer), clear(timer)),
  });
  const { signal } = new AbortController();
  Object.assign(signal, {
    addEventListener: (_: string, listener: unknown) => listeners.add(listener),
    removeEventListener: (_: string, listener: unknown) => listeners.delete(listener),
  });
  try {
    const request = new Request("http://localhost/", { method: "POST", body: "abc" });
    assert.equal((await readBytes(request, { ...bodyOptions(), signal })).length, 3);
  } finally {
    Object.assign(globalThis, { setTimeout: set, clearTimeout: clear });
  }
  assert.deepEqual([timers.size, listeners.size], [0, 0]);
});

/** Items that count how many of their iterations were ended. */
function items(count: number, ended: { count: number }): AsyncGenerator<number, void, void> {
  return (async function* () {
    try {
      for (let i = 0; i < count; i++) yield await Promise.resolve(i);
    } finally {
      ended.count++;
    }
  })();
}

test("merge() and started() end their sources when their reader leaves, and give every item otherwise", async () => {
  const ended = { count: 0 };
  for await (const _ of merge([items(9, ended), items(9, ended)])) break;
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(ended.count, 2);
  for await (const item of await started(items(9, ended))) {
    if (item === 1) break;
  }
  assert.equal(ended.count, 3);
  assert.deepEqual(await Array.fromAsync(await started(items(3, ended))), [0, 1, 2]);
  assert.deepEqual(await Array.fromAsync(await started(items(0, ended))), []);
});

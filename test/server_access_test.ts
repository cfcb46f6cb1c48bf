import assert from "node:assert/strict";
import { test } from "node:test";
import type { Hono } from "hono";
import { basicAuth } from "hono/basic-auth";
import { bearerAuth } from "hono/bearer-auth";
import { except } from "hono/combine";
import { HTTPException } from "hono/http-exception";
import { fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import type { ServerDeps } from "../src/server/deps.ts";
import { createApp, OpenRequests } from "../src/server/mod.ts";
import { tensor } from "../src/tensor.ts";
import { demoTokenizer } from "./demo_model.ts";
import { fakeAdapters, fakeEngine, type Script } from "./server_fakes.ts";

const tokenizer = await demoTokenizer();

// deno-lint-ignore no-explicit-any -- answers are JSON that each test looks into
type Json = any;

function setUp(deps: Partial<ServerDeps> = {}, script: Partial<Script> = {}): Hono {
  const engine = fakeEngine({ reply: () => [65, 66], ...script });
  return createApp({
    model: { id: "m", createdUnixSeconds: 0, engine, tokenizer },
    adapters: fakeAdapters(),
    ...deps,
  });
}

function complete(app: Hono, body: Record<string, unknown> = {}, headers: Record<string, string> = {}) {
  const text = JSON.stringify({ model: "m", prompt: "a", ...body });
  return Promise.resolve(app.request("/v1/completions", { method: "POST", body: text, headers }));
}

async function refused(response: Response, status: number): Promise<Json> {
  const json: Json = await response.json();
  assert.equal(response.status, status, JSON.stringify(json));
  assert.deepEqual(Object.keys(json.error).sort(), ["code", "message", "param", "type"]);
  return json.error;
}

const origin = "https://a.example";

test("createApp() answers preflights and allows an origin on answers, streams and errors by access.cors", async () => {
  for (const [cors, other] of [[[origin, "http://localhost:3000"], null], [["*"], "*"]] as const) {
    const app = setUp({ access: { cors } });
    const preflight = await app.request("/v1/chat/completions", {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
      },
    });
    assert.equal(preflight.status, 204);
    assert.match(preflight.headers.get("access-control-allow-methods")!, /POST/);
    assert.equal(preflight.headers.get("access-control-allow-headers"), "authorization,content-type");
    const answers = [
      preflight,
      await complete(app, {}, { origin }),
      await complete(app, { stream: true }, { origin }),
      await complete(app, { n: 0 }, { origin }),
      await app.request("/nowhere", { headers: { origin } }),
      await app.request("/v1/completions", { headers: { origin } }),
      await app.request("/health", { headers: { origin } }),
    ];
    for (const answer of answers) {
      assert.equal(answer.headers.get("access-control-allow-origin"), other ?? origin);
      await answer.text();
    }
    assert.equal(answers[2].headers.get("content-type"), "text/event-stream; charset=utf-8");
    const stranger = await complete(app, {}, { origin: "https://b.example" });
    assert.equal(stranger.headers.get("access-control-allow-origin"), other);
  }
});

test("createApp() says nothing of origins without access.cors, and refuses OPTIONS", async () => {
  const app = setUp();
  const response = await app.request("/v1/completions", { method: "OPTIONS", headers: { origin } });
  assert.equal(response.headers.get("access-control-allow-origin"), null);
  await refused(response, 405);
});

test("createApp() answers 403 to hosts and origins that are not among the allowed ones", async () => {
  const access = {
    allowedHosts: ["localhost", "ai.example:8443", "[::1]"],
    allowedOrigins: [origin],
    cors: ["https://c.example"],
  };
  const app = setUp({ access });
  const asked = (host: string, extra: Record<string, string> = {}, path = "/v1/models") =>
    Promise.resolve(app.request(path, { headers: { host, ...extra } }));
  for (const host of ["localhost", "LOCALHOST:8000", "ai.example:8443", "[::1]:8000"]) {
    assert.equal((await asked(host)).status, 200, host);
  }
  for (const host of ["evil.example", "ai.example", "ai.example:80", "localhost.evil.example", ""]) {
    const error = await refused(await asked(host), 403);
    assert.equal(error.code, "forbidden");
    assert.match(error.message, /allowed hosts/);
  }
  assert.equal((await asked("10.0.0.7", {}, "/health")).status, 200);
  assert.equal((await asked("10.0.0.7", {}, "/ready")).status, 200);
  for (const from of [origin, "https://c.example"]) {
    assert.equal((await asked("localhost", { origin: from })).status, 200);
  }
  for (const from of ["https://b.example", "null", `${origin}.evil`]) {
    assert.match((await refused(await asked("localhost", { origin: from }), 403)).message, /allowed origins/);
  }
});

test("createApp() refuses entries of access that no request could match", () => {
  const bad = [
    { cors: ["a.example"] },
    { cors: ["https://a.example/"] },
    { allowedOrigins: ["https://A.example"] },
    { allowedHosts: ["https://a.example"] },
    { allowedHosts: [""] },
  ];
  for (const access of bad) assert.throws(() => setUp({ access }), /Cannot allow (origin|host) "/);
});

test("createApp() answers what a middleware throws as OpenAI's object, with its status and headers", async () => {
  const app = setUp({
    access: { cors: ["*"] },
    middleware: [
      basicAuth({ username: "u", password: "p" }),
      (c, next) => {
        if (c.req.path === "/v1/models") throw new HTTPException(402, { message: "Cannot go on: no credit" });
        return next();
      },
    ],
  });
  const closed = await app.request("/health");
  assert.match(closed.headers.get("www-authenticate")!, /Basic/);
  assert.equal(closed.headers.get("access-control-allow-origin"), "*");
  assert.equal(closed.headers.get("content-type"), "application/json");
  assert.equal((await refused(closed, 401)).type, "authentication_error");
  const headers = { authorization: `Basic ${btoa("u:p")}` };
  assert.equal((await app.request("/health", { headers })).status, 200);
  const error = await refused(await app.request("/v1/models", { headers }), 402);
  assert.equal(error.message, "Cannot go on: no credit");
  const preflight = await app.request("/health", { method: "OPTIONS", headers: { origin } });
  assert.equal(preflight.status, 204);
});

test("createApp() with Hono's bearerAuth answers those with the token, and others by OpenAI's object", async () => {
  const middleware = [except(["/health", "/ready"], bearerAuth({ token: ["one", "two"] }))];
  const app = setUp({ middleware });
  for (const token of ["one", "two"]) {
    const headers = { authorization: `Bearer ${token}` };
    assert.equal((await app.request("/v1/models", { headers })).status, 200);
    assert.equal((await complete(app, {}, headers)).status, 200);
    const streamed = await complete(app, { stream: true }, headers);
    assert.match(await streamed.text(), /data: \[DONE\]/);
  }
  const cases: readonly (readonly [Record<string, string>, 400 | 401, RegExp])[] = [
    [{}, 401, /^Bearer /],
    [{ authorization: "Bearer three" }, 401, /^Bearer .*error="invalid_token"/],
    [{ authorization: "Bearer" }, 400, /^Bearer .*error="invalid_request"/],
  ];
  for (const [headers, status, authenticate] of cases) {
    for (const response of [await app.request("/v1/models", { headers }), await complete(app, {}, headers)]) {
      assert.match(response.headers.get("www-authenticate")!, authenticate);
      assert.equal(response.headers.get("content-type"), "application/json");
      const { type, message } = await refused(response, status);
      assert.equal(type, status === 401 ? "authentication_error" : "invalid_request_error");
      assert.ok(message.length > 0);
    }
  }
  assert.equal((await app.request("/health")).status, 200);
});

const module = "model.layers.0.self_attn.q_proj";

function apply(app: Hono, body: Uint8Array<ArrayBuffer>, init: RequestInit = {}): Promise<Response> {
  return Promise.resolve(
    app.request(`/v1/adapters/kjv/apply?module=${module}`, { method: "POST", body, ...init }),
  );
}

const file = writeSafetensors([
  fromTensor("x", tensor(new Float32Array([1, 2]), [1, 2])),
]) as Uint8Array<ArrayBuffer>;

/** A promise and what settles it. */
function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => resolve = done);
  return { promise, resolve };
}

test("POST /v1/adapters/{id}/apply and delta take turns, and answer 429 when too many wait", async () => {
  const { apply: product, delta } = fakeAdapters();
  const gate = deferred(), entered = deferred();
  let running = 0, most = 0;
  const slowly = async <T>(work: () => Promise<T>): Promise<T> => {
    most = Math.max(most, ++running);
    entered.resolve();
    await gate.promise;
    running--;
    return work();
  };
  const app = setUp({
    limits: { tensorQueue: 1 },
    adapters: fakeAdapters({
      apply: (...args) => slowly(() => product(...args)),
      delta: (...args) => slowly(() => delta(...args)),
    }),
  });
  const first = apply(app, file);
  await entered.promise;
  const path = `/v1/adapters/kjv/delta?module=${module}`;
  const second = Promise.resolve(app.request(path));
  const third = await app.request(path);
  assert.equal(third.headers.get("retry-after"), "1");
  assert.equal((await refused(third, 429)).code, "overloaded");
  gate.resolve();
  for (const response of [await first, await second]) {
    assert.equal(response.status, 200);
    const { byteLength } = await response.arrayBuffer();
    assert.equal(response.headers.get("content-length"), String(byteLength));
  }
  assert.equal(most, 1);
});

test("POST /v1/adapters/{id}/apply counts bodies and results in one budget, and gives it back when read", async () => {
  const adapters = fakeAdapters({ linear: () => ({ out: 3, in: 2 }) });
  // A body's buffer is 4096 bytes at least; the result's file and numbers are 2 x 12.
  const app = setUp({ adapters, limits: { memoryBytes: file.length + 24 } });
  for (let i = 0; i < 3; i++) {
    const response = await apply(app, file, { headers: { "content-length": String(file.length) } });
    assert.equal(response.status, 200, await response.clone().text());
    await response.arrayBuffer();
  }
  const unread = await apply(app, file, { headers: { "content-length": String(file.length) } });
  assert.equal(unread.status, 200);
  await refused(await apply(app, file), 429);
  await unread.body!.cancel();
  const large = setUp({ adapters, limits: { maxTensorBytes: 60 } });
  assert.match((await refused(await apply(large, file), 413)).message, /at most 60/);
  const wide = setUp({
    adapters: fakeAdapters({ linear: () => ({ out: 1e6, in: 2 }) }),
    limits: { maxTensorBytes: 200 },
  });
  assert.match((await refused(await apply(wide, file), 400)).message, /shape \[1,1000000\]/);
});

test("POST /v1/adapters/{id}/apply refuses x of float64 by name", async () => {
  const header = new TextEncoder().encode('{"x":{"dtype":"F64","shape":[1,2],"data_offsets":[0,16]}}   ');
  const bytes = new Uint8Array(8 + header.length + 16);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  assert.match((await refused(await apply(setUp(), bytes), 400)).message, /F64/);
});

test("createApp() takes no new work of any kind while it drains, and says so", async () => {
  const requests = new OpenRequests();
  const app = setUp({ requests });
  assert.equal(await requests.drain(1000), 0);
  const delta = app.request(`/v1/adapters/kjv/delta?module=${module}`);
  for (const response of [await complete(app), await apply(app, file), await delta]) {
    assert.equal(response.headers.get("retry-after"), "5");
    assert.equal((await refused(response, 503)).code, "not_ready");
  }
  assert.equal((await app.request("/ready")).status, 503);
  assert.equal((await app.request("/health")).status, 200);
});

test("createApp() cuts a request by 503 and a stream by an event at the drain's deadline", async () => {
  const requests = new OpenRequests();
  const logged: string[] = [];
  const app = setUp({ requests, log: (line) => logged.push(line) }, { hangs: true });
  const whole = complete(app), stream = await complete(app, { stream: true });
  const text = stream.text();
  assert.equal(requests.size, 2);
  assert.equal(await requests.drain(1), 2);
  assert.match((await refused(await whole, 503)).message, /the server has stopped/);
  const events = (await text).trim().split("\n\n");
  assert.match(JSON.parse(events.at(-1)!.slice(6)).error.message, /the server has stopped/);
  assert.deepEqual(logged, []);
  assert.equal(requests.size, 0);
});

test("createApp() counts requests out when they are answered, refused, read or left", async () => {
  const requests = new OpenRequests();
  const app = setUp({ requests });
  await (await complete(app)).text();
  await (await complete(app, { n: 0 })).text();
  await (await complete(app, { stream: true })).text();
  await (await complete(app, { stream: true })).body!.cancel();
  await (await apply(app, file)).arrayBuffer();
  await (await apply(app, new Uint8Array(3))).text();
  assert.equal(requests.size, 0);
  const crowded = setUp({ limits: { maxRequests: 1 } }, { hangs: true });
  const stream = await complete(crowded, { stream: true });
  await refused(await complete(crowded), 429);
  await stream.body!.cancel();
});

test("createApp() ends a stream and its sequences when its reader takes nothing", async () => {
  const requests = new OpenRequests();
  const engine = fakeEngine({ reply: () => new Array(40).fill(65) });
  const model = { id: "m", createdUnixSeconds: 0, engine, tokenizer };
  const app = setUp({ requests, model, limits: { readerSeconds: 0.02 } });
  const stream = await complete(app, { stream: true, max_tokens: 40 });
  // Nothing is read until the sequence has ended.
  assert.equal(await requests.drain(60_000), 0);
  const events = (await stream.text()).trim().split("\n\n");
  assert.ok(events.length < 5, String(events.length));
  assert.equal(JSON.parse(events.at(-1)!.slice(6)).error.code, "reader_too_slow");
});

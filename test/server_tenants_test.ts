import assert from "node:assert/strict";
import { test } from "node:test";
import type { Hono } from "hono";
import fc from "fast-check";
import type { Engine } from "../src/engine/generate.ts";
import type { ServerDeps } from "../src/server/deps.ts";
import { createApp, type RequestRecord, type TenantOptions, Tenants } from "../src/server/mod.ts";
import { fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { Quota } from "../src/server/quota.ts";
import { mayUse } from "../src/server/tenants.ts";
import { tensor } from "../src/tensor.ts";
import { demoTokenizer } from "./demo_model.ts";
import { fakeAdapters, type FakeEngine, fakeEngine, type Script } from "./server_fakes.ts";

const tokenizer = await demoTokenizer();

// deno-lint-ignore no-explicit-any -- answers are JSON that each test looks into
type Json = any;

const token = { kjv: "kjv-token-0123456789", lora: "lora-token-0123456789", operator: "operator-0123456789" };
const tenants: readonly TenantOptions[] = [
  { id: "k", tokens: [token.kjv], adapterPrefixes: ["kjv"] },
  { id: "l", tokens: [token.lora], adapterPrefixes: ["lora-"], weight: 3 },
];

function setUp(
  deps: Partial<ServerDeps> = {},
  script: Partial<Script> = {},
): { readonly app: Hono; readonly engine: FakeEngine } {
  const engine = fakeEngine({ reply: () => [65, 66], ...script });
  const app = createApp({
    model: { id: "m", createdUnixSeconds: 0, engine, tokenizer },
    adapters: fakeAdapters(),
    auth: { tenants, operator: { tokens: [token.operator] } },
    ...deps,
  });
  return { app, engine };
}

const as = (bearer: string): Record<string, string> => ({ authorization: `Bearer ${bearer}` });

function ask(app: Hono, path: string, bearer?: string, body?: unknown): Promise<Response> {
  const headers = bearer === undefined ? {} : as(bearer);
  const init = body === undefined
    ? { headers }
    : { method: "POST", headers, body: body instanceof Uint8Array ? body as BodyInit : JSON.stringify(body) };
  return Promise.resolve(app.request(path, init));
}

async function refused(response: Response, status: number): Promise<Json> {
  const json: Json = await response.json();
  assert.equal(response.status, status, JSON.stringify(json));
  return json.error;
}

/** Every route that the app has, as Hono knows it. */
function routesOf(app: Hono): { readonly method: string; readonly path: string }[] {
  const own = app.routes.filter(({ method, path }) => method !== "ALL" && path !== "/*");
  return own.map(({ method, path }) => ({
    method,
    path: path.replace(/:id\{\.\+\}/, "kjv").replace(/:id/, "kjv"),
  }));
}

test("createApp() answers 401 on every route but the public three, to no token and to unknown ones", async () => {
  const { app } = setUp();
  const routes = routesOf(app);
  assert.ok(routes.length >= 14, JSON.stringify(routes));
  const open = new Set(["/health", "/ready", "/metrics"]);
  for (
    const { method, path } of [...routes, { method: "GET", path: "/nowhere" }, {
      method: "PUT",
      path: "/v1/models",
    }]
  ) {
    const given = [{}, as("wrong-0123456789abc"), as(`${token.kjv}x`), as(token.kjv.slice(1)), {
      authorization: `Basic ${btoa(`x:${token.kjv}`)}`,
    }];
    for (const headers of given) {
      const response = await app.request(path, { method, headers });
      if (open.has(path)) {
        assert.equal(response.status, 200, path);
        continue;
      }
      const error = await refused(response, 401);
      assert.equal(error.code, "invalid_api_key", `${method} ${path}`);
      assert.equal(response.headers.get("www-authenticate"), "Bearer");
      assert.doesNotMatch(error.message, /0123456789/);
    }
  }
});

test("createApp() opens what publicPaths names, and nothing like it", async () => {
  const { app } = setUp({ auth: { tenants, publicPaths: ["/health"] } });
  assert.equal((await ask(app, "/health")).status, 200);
  for (const path of ["/ready", "/metrics", "/health/", "//health", "/HEALTH", "/health/..", "/v1/models"]) {
    await refused(await ask(app, path), 401);
  }
  assert.throws(() => setUp({ auth: { publicPaths: ["health"] } }), /Cannot make "health" public/);
});

test("createApp() without tenants asks nobody for a token", async () => {
  const { app } = setUp({ auth: undefined });
  assert.equal((await ask(app, "/v1/models")).status, 200);
  assert.equal((await ask(app, "/v1/models", "any")).status, 200);
});

test("createApp() says 404 of other tenants' adapters wherever one may be named", async () => {
  const { app } = setUp();
  const ids = async (bearer: string) => {
    const { data }: Json = await (await ask(app, "/v1/models", bearer)).json();
    return data.map(({ id }: Json) => id);
  };
  assert.deepEqual(await ids(token.kjv), ["m", "kjv"]);
  assert.deepEqual(await ids(token.lora), ["m", "lora-kjv"]);
  const x = writeSafetensors([fromTensor("x", tensor(new Float32Array(2), [1, 2]))]);
  const module = "module=model.layers.0.self_attn.q_proj";
  const asked = (id: string): [string, unknown?][] => [
    [`/v1/models/${id}`],
    [`/v1/models/m:${id}`],
    [`/v1/adapters/${id}/delta?${module}`],
    [`/v1/adapters/${id}/apply?${module}`, x],
    ["/v1/completions", { model: id, prompt: "a" }],
    ["/v1/completions", { model: `m:${id}`, prompt: "a" }],
    ["/v1/completions", { model: "m", adapters: [{ id }], prompt: "a" }],
    ["/v1/chat/completions", { model: id, messages: [{ role: "user", content: "a" }] }],
  ];
  for (const [path, body] of asked("lora-kjv")) {
    const told = await refused(await ask(app, path, token.kjv, body), 404);
    const missing = path.replace("lora-kjv", "nothing");
    const other = typeof body === "object" && !(body instanceof Uint8Array)
      ? JSON.parse(JSON.stringify(body).replace("lora-kjv", "nothing"))
      : body;
    const absent = await refused(await ask(app, missing, token.kjv, other), 404);
    assert.deepEqual(JSON.parse(JSON.stringify(told).replaceAll("lora-kjv", "nothing")), absent, path);
    assert.equal((await ask(app, path, token.lora, body)).status, 200, path);
  }
  const mixed = { model: "m", prompt: "a", adapters: [{ id: "kjv" }, { id: "lora-kjv" }] };
  await refused(await ask(app, "/v1/completions", token.kjv, mixed), 404);
});

test("mayUse compares names as stores do, and takes no prefix for a pattern", () => {
  const of = (prefix: string, name: string) => mayUse({ adapterPrefixes: [prefix] }, name);
  assert.equal(of("caf\u00e9-", "cafe\u0301-a"), true);
  assert.equal(of("a.", "ab"), false);
  assert.equal(of("a", "b/../a"), false);
  assert.equal(mayUse({ adapterPrefixes: [] }, "a"), false);
  assert.equal(mayUse({}, "a"), true);
  assert.equal(mayUse(undefined, "a"), true);
});

test("createApp() hands the engine each sequence's owner", async () => {
  const { app, engine } = setUp();
  await (await ask(app, "/v1/completions", token.lora, { model: "m", prompt: "a", n: 2 })).text();
  assert.deepEqual(engine.requests.map(({ owner }) => owner), [{ id: "l", weight: 3 }, {
    id: "l",
    weight: 3,
  }]);
});

test("createApp() counts a tenant's open requests, and lets them in again when they end", async () => {
  const busy = { id: "k", tokens: [token.kjv], maxConcurrent: 1 };
  const { app, engine } = setUp({ auth: { tenants: [busy, tenants[1]] } }, { hangs: true });
  const leave = new AbortController();
  const first = Promise.resolve(app.request("/v1/completions", {
    method: "POST",
    headers: as(token.kjv),
    body: JSON.stringify({ model: "m", prompt: "a" }),
    signal: leave.signal,
  }));
  await engine.until(() => engine.hanging === 1);
  const full = await ask(app, "/v1/completions", token.kjv, { model: "m", prompt: "a" });
  assert.equal(full.headers.get("retry-after"), "1");
  assert.equal((await refused(full, 429)).code, "rate_limit_exceeded");
  assert.equal((await ask(app, "/v1/models", token.kjv)).status, 200);
  const other = ask(app, "/v1/completions", token.lora, { model: "m", prompt: "a", stream: true });
  assert.equal((await other).status, 200);
  await (await other).body!.cancel();
  leave.abort();
  await first.catch(() => {});
  const again = await ask(app, "/v1/completions", token.kjv, { model: "m", prompt: "a", stream: true });
  assert.equal(again.status, 200);
  await again.body!.cancel();
});

test("createApp() refuses a tenant whose tokens are used up, and says when to ask again", async () => {
  const poor = { id: "k", tokens: [token.kjv], tokensPerMinute: 3, requestsPerMinute: 600 };
  const { app } = setUp({ auth: { tenants: [poor] } });
  const body = { model: "m", prompt: [1, 2, 3, 4], max_tokens: 2 };
  assert.equal((await ask(app, "/v1/completions", token.kjv, body)).status, 200);
  const response = await ask(app, "/v1/completions", token.kjv, body);
  assert.match((await refused(response, 429)).message, /tokensPerMinute/);
  // 4 tokens of the prompt and 2 new ones: 3 are owed and one is needed, and 3 come in a minute.
  const wait = Number(response.headers.get("retry-after"));
  assert.ok(wait >= 78 && wait <= 80, String(wait));
});

test("createApp() counts the tokens that were made for a reader who leaves without them", async () => {
  const reply = Array.from({ length: 20 }, (_, i) => 65 + i % 26);
  const { engine } = setUp({}, { reply: () => reply });
  // As a batch engine does: tokens are made as the device makes them, and wait for their reader.
  const ahead: Engine = {
    maxModelLen: 64,
    vocabSize: 4096,
    async *generate(request) {
      const events = await Array.fromAsync(engine.generate(request));
      yield* events;
    },
  };
  const poor = { id: "k", tokens: [token.kjv], tokensPerMinute: 20 };
  const { app } = setUp({
    model: { id: "m", createdUnixSeconds: 0, engine: ahead, tokenizer },
    auth: { tenants: [poor] },
  });
  const body = { model: "m", prompt: [1], max_tokens: 20, stream: true };
  const response = await ask(app, "/v1/completions", token.kjv, body);
  await response.body!.cancel();
  assert.match(
    (await refused(await ask(app, "/v1/completions", token.kjv, body), 429)).message,
    /tokensPerMinute/,
  );
});

test("Quota lets in as many requests a minute as it may, by any clock that goes on", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 200 }),
    fc.array(fc.integer({ min: 0, max: 30_000 }), { maxLength: 60 }),
    (perMinute, pauses) => {
      let now = 0, admitted = 0;
      const quota = new Quota(() => now);
      quota.limit({ requestsPerMinute: perMinute });
      for (const pause of pauses) {
        now += pause;
        for (let i = 0; i < 10; i++) {
          try {
            quota.admit().end();
            admitted++;
          } catch (error) {
            const { retryAfterSeconds } = error as { retryAfterSeconds: number };
            assert.ok(retryAfterSeconds >= 1 && retryAfterSeconds <= Math.ceil(60 / perMinute) + 1);
          }
        }
      }
      assert.ok(admitted <= perMinute + now * perMinute / 60_000 + 1e-6);
      assert.equal(quota.open, 0);
    },
  ));
});

test("Quota lets in whoever waits as long as it says, and keeps a debt through new limits", () => {
  let now = 0;
  const quota = new Quota(() => now);
  quota.limit({ tokensPerMinute: 60 });
  const open = quota.admit();
  open.use(90);
  open.end();
  open.end();
  assert.equal(quota.open, 0);
  const wait = (): number => {
    try {
      quota.admit().end();
      return 0;
    } catch (error) {
      return (error as { retryAfterSeconds: number }).retryAfterSeconds;
    }
  };
  assert.equal(wait(), 31);
  quota.limit({ tokensPerMinute: 120 });
  assert.equal(wait(), 16);
  now += 16_000;
  assert.equal(wait(), 0);
});

test("Tenants replaces tenants at once or not at all, and keeps what stays used up", async () => {
  const list = new Tenants([{ id: "k", tokens: [token.kjv], requestsPerMinute: 1 }]);
  const { app } = setUp({ auth: { tenants: list } });
  const work = (bearer: string) => ask(app, "/v1/completions", bearer, { model: "m", prompt: "a" });
  assert.equal((await work(token.kjv)).status, 200);
  await refused(await work(token.lora), 401);
  await assert.rejects(
    list.replace([{ id: "k", tokens: [] }, { id: "k", tokens: [] }]),
    /Cannot use a tenant's id twice/,
  );
  await refused(await work(token.kjv), 429);
  const sha256 = [
    ...new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token.lora))),
  ];
  const digest = sha256.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  await list.replace([{ id: "k", tokenSha256: [digest], requestsPerMinute: 1 }]);
  await refused(await work(token.kjv), 401);
  await refused(await work(token.lora), 429);
  assert.deepEqual(list.ids, ["k"]);
});

test("createApp() shares no cached beginning between a tenant and the one that takes its place", async () => {
  const list = new Tenants([{ id: "k", tokens: [token.kjv] }]);
  const { app, engine } = setUp({ auth: { tenants: list, publicPaths: ["/v1/completions"] } });
  const work = async (bearer?: string, cache_salt?: string) => {
    const body = { model: "m", prompt: "a", cache_salt };
    assert.equal((await ask(app, "/v1/completions", bearer, body)).status, 200);
    const { owner, cacheSalt } = engine.requests.at(-1)!;
    return JSON.stringify([owner?.id, cacheSalt]);
  };
  const first = await work(token.kjv);
  assert.equal(await work(token.kjv), first);
  const others = [await work(token.kjv, "s"), await work(undefined, JSON.parse(first)[1]), await work()];
  await list.replace([{ id: "l", tokens: [token.lora] }]);
  others.push(await work(token.lora), await work(token.lora, "s"));
  assert.equal(new Set([first, ...others]).size, 6);
});

test("Tenants refuses what no tenant can be, by name", () => {
  const bad: [TenantOptions, RegExp][] = [
    [{ id: "" }, /Cannot use tenant id ""/],
    [{ id: "a b" }, /Cannot use tenant id "a b"/],
    [{ id: "a", tokens: ["short"] }, /Cannot use a token of tenant "a": it must be 16 or more/],
    [{ id: "a", tokens: ["a token with spaces in it"] }, /Cannot use a token of tenant "a"/],
    [{ id: "a", tokenSha256: ["AB"] }, /Cannot use a tokenSha256 of tenant "a"/],
    [{ id: "a", weight: 0 }, /Cannot use weight 0 of tenant "a"/],
    [{ id: "a", requestsPerMinute: NaN }, /Cannot use requestsPerMinute NaN/],
    [{ id: "a", tokensPerMinute: -1 }, /Cannot use tokensPerMinute -1/],
    [{ id: "a", weight: 2 }, /Cannot use tenant "a": it has neither tokens nor tokenSha256/],
    [{ id: "a", adapterPrefixes: [""] }, /Cannot use an empty prefix of tenant "a"/],
  ];
  for (const [tenant, message] of bad) assert.throws(() => new Tenants([tenant]), message);
  const both = [{ id: "a", tokens: [token.kjv] }, { id: "b", tokens: [token.kjv] }];
  assert.throws(() => new Tenants(both), /Cannot use a token twice/);
});

const sha256 = async (text: string): Promise<string> => {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
};

test("Tenants refuses a token of two tenants, once as text and once as digest, and the operator's", async () => {
  const digests = [await sha256(token.kjv)];
  const plain = { id: "a", tokens: [token.kjv] };
  assert.throws(
    () => new Tenants([plain, { id: "b", tokenSha256: digests }]),
    /Cannot use a token of tenant "b": tenant "a" has the same/,
  );
  assert.deepEqual(new Tenants([{ ...plain, tokenSha256: digests }]).ids, ["a"], "one tenant may have both");
  const list = new Tenants([plain]), adapters = fakeAdapters();
  for (const operator of [{ tokens: [token.kjv] }, { tokenSha256: digests }]) {
    assert.throws(
      () => createApp({ adapters, auth: { tenants: list, operator } }),
      /Cannot use a token of tenant "a": it is the operator's/,
    );
  }
  createApp({ adapters, auth: { tenants: list, operator: { tokens: [token.operator] } } });
  await assert.rejects(
    list.replace([{ id: "b", tokenSha256: [await sha256(token.operator)] }]),
    /Cannot use a token of tenant "b": it is the operator's/,
  );
  assert.deepEqual(list.ids, ["a"]);
});

test("createApp() charges no prompt that the engine refuses", async () => {
  const records: RequestRecord[] = [];
  const poor = { id: "k", tokens: [token.kjv], tokensPerMinute: 4 };
  const { app } = setUp({ auth: { tenants: [poor] }, onRequest: (record) => records.push(record) }, {
    failure: { at: 0, error: new RangeError("Cannot generate so") },
  });
  const body = { model: "m", prompt: [65, 66, 67, 68], max_tokens: 2 };
  for (let i = 0; i < 3; i++) {
    const { code } = await refused(await ask(app, "/v1/completions", token.kjv, body), 400);
    assert.equal(code, "invalid_value");
  }
  assert.deepEqual(records.map(({ promptTokens }) => promptTokens), [0, 0, 0]);
});

test("createApp() names each request, by its own id if that may stand in a header, and tells of its end", async () => {
  const records: RequestRecord[] = [];
  const { app } = setUp({ onRequest: (record) => records.push(record) });
  const body = JSON.stringify({ model: "kjv", prompt: [1, 2, 3], max_tokens: 2, stream: true });
  const response = await app.request("/v1/completions", {
    method: "POST",
    headers: { ...as(token.kjv), "x-request-id": "mine-1" },
    body,
  });
  assert.equal(response.headers.get("x-request-id"), "mine-1");
  assert.equal(records.length, 0, "a stream is not over when it begins");
  await response.text();
  const [{ seconds, firstTokenSeconds, ...record }] = records;
  assert.deepEqual(record, {
    requestId: "mine-1",
    method: "POST",
    route: "/v1/completions",
    status: 200,
    tenant: "k",
    model: "kjv",
    promptTokens: 3,
    newTokens: 2,
    error: undefined,
  });
  assert.ok(seconds >= firstTokenSeconds! && firstTokenSeconds! >= 0);
  for (const id of ["", "a b", "x".repeat(129), "\u00e9"]) {
    const answered = await app.request("/nowhere", { headers: { ...as(token.kjv), "x-request-id": id } });
    assert.match(answered.headers.get("x-request-id")!, /^[0-9a-f-]{36}$/);
  }
  const last = records.at(-1)!;
  assert.deepEqual([last.status, last.route, last.error], [404, undefined, "unknown_url"]);
});

test("createApp() cuts a request at its deadline: 504, or a stream's last event", async () => {
  const { app, engine } = setUp({ auth: undefined, limits: { requestSeconds: 0.05 } }, { hangs: true });
  const whole = await ask(app, "/v1/completions", undefined, { model: "m", prompt: "a" });
  assert.equal((await refused(whole, 504)).code, "deadline_exceeded");
  const stream = await ask(app, "/v1/completions", undefined, { model: "m", prompt: "a", stream: true });
  const events = (await stream.text()).trim().split("\n\n");
  assert.equal(JSON.parse(events.at(-1)!.slice(6)).error.code, "deadline_exceeded");
  assert.deepEqual(engine.ends, ["DeadlineError", "DeadlineError"]);
});

test("createApp() answers 503 to a request that waits longer than it may, and to none that runs", async () => {
  const limits = { queueSeconds: 0.01, requestSeconds: 0.1 };
  const { app, engine } = setUp({ auth: undefined, limits }, { waits: true });
  for (const more of [{}, { stream: true }, { n: 2 }]) {
    const waited = await ask(app, "/v1/completions", undefined, { model: "m", prompt: "a", ...more });
    assert.equal(waited.headers.get("retry-after"), "5");
    assert.equal((await refused(waited, 503)).code, "queue_timeout");
  }
  assert.deepEqual(engine.ends, Array(4).fill("QueueTimeoutError"));
  const running = setUp({ auth: undefined, limits }, { hangs: true });
  const whole = await ask(running.app, "/v1/completions", undefined, { model: "m", prompt: "a" });
  assert.equal((await refused(whole, 504)).code, "deadline_exceeded");
});

test("createApp() refuses addresses and headers above the limit", async () => {
  const { app } = setUp({ auth: undefined, limits: { maxHeaderBytes: 1000 } });
  const headers = { "x-long": "a".repeat(1000) };
  assert.equal((await refused(await app.request("/health", { headers }), 431)).code, "headers_too_large");
  await refused(await app.request(`/v1/models/${"a".repeat(1000)}`), 431);
  assert.equal((await app.request("/health")).status, 200);
});

test("createApp() refuses prompts above the limit, and takes those at it", async () => {
  const { app, engine } = setUp({ auth: undefined, limits: { maxPromptTokens: 3 } });
  const send = (prompt: unknown) =>
    ask(app, "/v1/completions", undefined, { model: "m", prompt, max_tokens: 1 });
  assert.equal((await send([1, 2, 3])).status, 200);
  for (const prompt of [[1, 2, 3, 4], [[1], [1, 2, 3, 4]]]) {
    const error = await refused(await send(prompt), 400);
    assert.deepEqual([error.code, error.param], ["context_length_exceeded", "prompt"]);
  }
  assert.equal(engine.requests.length, 1);
});

/** Metrics by name and labels. */
async function metricsOf(app: Hono): Promise<Map<string, number>> {
  const response = await app.request("/metrics");
  assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const text = await response.text();
  assert.ok(text.endsWith("\n"));
  const types = new Map<string, string>(), values = new Map<string, number>();
  for (const line of text.trimEnd().split("\n")) {
    const [, kind, name, rest] = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/.exec(line) ?? [];
    if (kind === "TYPE") {
      assert.ok(!types.has(name) && /^(counter|gauge|histogram|summary)$/.test(rest), line);
      types.set(name, rest);
    }
    if (kind) continue;
    const sample =
      /^([a-zA-Z_:][\w:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\n"])*",?)*\})? (-?[\d.e+-]+|NaN|[+-]Inf)$/.exec(
        line,
      );
    assert.ok(sample, line);
    const family = sample[1].replace(/_(bucket|sum|count)$/, "");
    assert.ok(types.has(sample[1]) || types.has(family), line);
    values.set(sample[1] + (sample[2] ?? ""), Number(sample[3]));
  }
  return values;
}

test("GET /metrics has vLLM's names, the router's four and the adapters', in Prometheus' format", async () => {
  const engine = fakeEngine({ reply: () => [65, 66] });
  const stats = {
    ...{ running: 3, waiting: 7, maxSequences: 16, cacheUsage: 0.25 },
    cache: { blocks: 8, usedBlocks: 2, blockSize: 16, prefixQueries: 90, prefixHits: 64, preemptions: 5 },
    runningAdapters: ["kjv", 'odd"\n\\'],
    waitingAdapters: [],
  };
  const adapters = fakeAdapters({
    stats: () => ({
      ...{
        capacity: 256,
        hits: 5,
        misses: 2,
        evictions: { capacity: 1, unload: 0 },
        loads: 2,
        loadSeconds: 0.5,
      },
      resident: [{ id: "kjv", level: "in_use" }],
    }),
  });
  const app = createApp({
    model: { id: "m", createdUnixSeconds: 0, engine: { ...engine, stats: () => stats }, tokenizer },
    adapters,
    auth: { tenants },
  });
  await (await ask(app, "/v1/completions", token.kjv, { model: "m", prompt: [1, 2, 3], max_tokens: 2 }))
    .text();
  await (await ask(app, "/v1/completions", token.kjv, { model: "m", prompt: [] })).text();
  const metrics = await metricsOf(app);
  const of = (name: string) => metrics.get(name);
  assert.equal(of('vllm:num_requests_running{model_name="m"}'), 3);
  assert.equal(of('vllm:num_requests_waiting{model_name="m"}'), 7);
  assert.equal(of('vllm:kv_cache_usage_perc{model_name="m"}'), 0.25);
  assert.equal(of('vllm:prefix_cache_queries_total{model_name="m"}'), 90);
  assert.equal(of('vllm:prefix_cache_hits_total{model_name="m"}'), 64);
  assert.equal(of('vllm:num_preemptions_total{model_name="m"}'), 5);
  const info = [...metrics].find(([name]) => name.startsWith("vllm:lora_requests_info"))!;
  assert.equal(
    info[0],
    'vllm:lora_requests_info{max_lora="256",running_lora_adapters="kjv,odd\\"\\n\\\\",waiting_lora_adapters=""}',
  );
  assert.ok(info[1] > 1.7e9);
  assert.equal(of('vllm:prompt_tokens_total{model_name="m"}'), 3);
  assert.equal(of('vllm:generation_tokens_total{model_name="m"}'), 2);
  assert.equal(of('vllm:time_to_first_token_seconds_count{model_name="m"}'), 1);
  assert.equal(of('vllm:time_to_first_token_seconds_bucket{model_name="m",le="+Inf"}'), 1);
  assert.equal(of('vllm:inter_token_latency_seconds_count{model_name="m"}'), 1);
  assert.equal(of('adapter_loaded{adapter="kjv",level="in_use"}'), 1);
  assert.equal(of("adapter_load_seconds_sum"), 0.5);
  assert.equal(of('adapter_evictions_total{reason="capacity"}'), 1);
  assert.equal(of("adapter_cache_hits_total"), 5);
  assert.equal(of('fourierft:http_requests_total{route="/v1/completions",method="POST",status="200"}'), 1);
  assert.equal(of('fourierft:http_requests_total{route="/v1/completions",method="POST",status="400"}'), 1);
  assert.equal(of('fourierft:tenant_tokens_total{tenant="k",kind="prompt"}'), 3);
  assert.equal(of("fourierft:open_requests"), 0);
});

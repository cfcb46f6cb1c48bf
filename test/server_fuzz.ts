/**
 * Requests made at random from a server's OpenAPI document: right ones, nearly right ones and noise.
 *
 * `deno task fuzz:server [RUNS] [SEED]` asks 100,000 of the demo model's server unless told, and watches its memory.
 *
 * @module
 */
import assert from "node:assert/strict";
import process from "node:process";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import type { Hono } from "hono";
import { AdapterAdmin, cpuDevice, ManagedStore, openModel } from "../mod.ts";
import { openAdapterStore, openFolder } from "../src/runtime/mod.ts";
import { createApp } from "../src/server/mod.ts";
import { demo } from "./demo_model.ts";

type Schema = Readonly<Record<string, unknown>>;

interface Parameter {
  readonly name: string;
  readonly in: "path" | "query";
  readonly required: boolean;
}

interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
}

/** As much of an OpenAPI document as requests are made of. */
export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

/** A request to ask. */
export interface FuzzRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
}

/** Names that have hurt servers, and those of the demo. */
const names = [
  ...[
    "base",
    "fourierft-kjv",
    "lora-kjv",
    "base:fourierft-kjv",
    "",
    ".",
    "..",
    "../../etc/passwd",
    "..\\..\\x",
  ],
  ...[
    "%2e%2e%2f",
    "%252e%252e%252f",
    "a/b",
    "a:b",
    "\u0000",
    "con",
    "__proto__",
    "constructor",
    "hasOwnProperty",
  ],
  ...[
    "http://127.0.0.1:1/",
    "file:///etc/passwd",
    "a".repeat(300),
    "\ud800",
    "cafe\u0301",
    "${x}",
    "' OR 1=1",
  ],
];
const keys = ["__proto__", "constructor", "prototype", "toString", "user", "tools", "logit_bias", "x"];

const anyName = fc.oneof(fc.constantFrom(...names), fc.string({ unit: "binary", maxLength: 20 }));
/** Past 2^53 and past 2^64, fractions, signs. */
const anyNumber = fc.oneof(
  fc.integer(),
  fc.double(),
  fc.constantFrom(0, -0, -1, 1, 2 ** 31, 2 ** 53, 1e21, 1e308),
);
const anyJson = fc.oneof(fc.jsonValue({ maxDepth: 3 }), anyName, anyNumber, fc.constant(null));

function numberOf({ minimum = -3, maximum = 300, type }: Schema): fc.Arbitrary<number> {
  const least = Math.max(-1e9, minimum as number), most = Math.min(1e9, maximum as number);
  const edges = fc.constantFrom(least, most, least - 1, most + 1);
  return fc.oneof(
    {
      weight: 4,
      arbitrary: type === "integer"
        ? fc.integer({ min: Math.ceil(least), max: Math.floor(Math.min(most, least + 40)) })
        : fc.double({ min: least, max: most, noNaN: true }),
    },
    { weight: 1, arbitrary: edges },
    { weight: 1, arbitrary: anyNumber },
  );
}

/** Values that a schema is meant to take, most of them. */
function rightOf(schema: Schema): fc.Arbitrary<unknown> {
  if (Array.isArray(schema.anyOf)) return fc.oneof(...(schema.anyOf as Schema[]).map(valueOf));
  if (Array.isArray(schema.enum)) return fc.constantFrom(...schema.enum as unknown[]);
  if ("const" in schema) return fc.constant(schema.const);
  const types = [schema.type].flat() as (string | undefined)[];
  return fc.oneof(...types.map((type) => {
    if (type === "string") return fc.oneof(anyName, fc.string({ maxLength: 30 }));
    if (type === "boolean") return fc.boolean();
    if (type === "integer" || type === "number") return numberOf({ ...schema, type });
    if (type === "array") return fc.array(valueOf(schema.items as Schema ?? {}), { maxLength: 5 });
    if (type === "object") return objectOf(schema);
    return anyJson;
  }));
}

/** A schema's values, and now and then something else. */
function valueOf(schema: Schema): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 15, arbitrary: rightOf(schema) }, { weight: 1, arbitrary: anyJson });
}

/** Fields that name models and adapters do so rightly, mostly: else hardly a request would get far. */
function fieldOf(name: string, schema: Schema): fc.Arbitrary<unknown> {
  if (!["model", "id", "source", "lora_name", "lora_path"].includes(name)) return valueOf(schema);
  const known = fc.constantFrom("base", "fourierft-kjv", "lora-kjv", "base:fourierft-kjv", "dora-kjv-r2");
  return fc.oneof({ weight: 4, arbitrary: known }, { weight: 1, arbitrary: valueOf(schema) });
}

function objectOf({ properties = {}, required = [] }: Schema): fc.Arbitrary<unknown> {
  const known = Object.entries(properties as Record<string, Schema>);
  const fields = fc.record(
    Object.fromEntries(known.map(([name, schema]) => [name, fieldOf(name, schema)])),
    { requiredKeys: known.map(([name]) => name).filter((name) => (required as string[]).includes(name)) },
  );
  // Most fields are mostly absent: else hardly a request would be right.
  const few = fc.tuple(fields, fc.array(fc.nat(), { maxLength: 3 })).map(([all, kept]) => {
    const entries = Object.entries(all), wanted = new Set(kept.map((i) => i % Math.max(1, entries.length)));
    return Object.fromEntries(
      entries.filter(([name], i) => wanted.has(i) || isNeeded(name, required as string[])),
    );
  });
  const extra = fc.option(fc.tuple(fc.constantFrom(...keys), anyJson), { freq: 12, nil: undefined });
  return fc.tuple(few, extra).map(([value, more]) =>
    more ? Object.defineProperty({ ...value }, more[0], { value: more[1], enumerable: true }) : value
  );
}

const isNeeded = (name: string, required: readonly string[]): boolean =>
  required.includes(name) || ["prompt", "messages", "input", "text_1", "text_2"].includes(name);

/** A body's text: as JSON writes it, cut short, or noise. */
function bodyOf({ requestBody }: Operation): fc.Arbitrary<FuzzRequest["body"]> {
  const [content] = Object.values(requestBody?.content ?? {});
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => new Uint8Array(bytes)),
    fc.constantFrom(
      "",
      "{",
      "[]",
      "null",
      '{"model":"base"',
      "\u0000",
      "[".repeat(5000),
      '{"a":'.repeat(500),
    ),
    fc.string({ unit: "binary" }),
  );
  if (!content) return fc.option(noise, { freq: 6, nil: undefined });
  const text = objectOf(content.schema).map((value) => JSON.stringify(value));
  const cut = fc.tuple(text, fc.nat()).map(([whole, at]) => whole.slice(0, at % (whole.length + 1)));
  return fc.oneof({ weight: 12, arbitrary: text }, { weight: 1, arbitrary: cut }, {
    weight: 1,
    arbitrary: noise,
  });
}

function filled(path: string, values: readonly string[]): string {
  let at = 0;
  // encodeURIComponent refuses half of a pair.
  const encoded = (value: string): string => encodeURIComponent(value.toWellFormed?.() ?? "x");
  return path.replace(/\{\w+\}/g, () => encoded(values[at++]));
}

function requestOf(path: string, method: string, operation: Operation): fc.Arbitrary<FuzzRequest> {
  const query = (operation.parameters ?? []).filter((one) => one.in === "query").map(({ name }) => name);
  const module = fc.constantFrom("model.layers.0.self_attn.q_proj", "x", "", "../x");
  const given = fc.array(
    fc.tuple(fc.constantFrom(...query, "x"), fc.oneof(anyName, module, fc.nat().map(String))),
    {
      maxLength: 3,
    },
  );
  return fc.record({
    method: fc.oneof(
      { weight: 20, arbitrary: fc.constant(method.toUpperCase()) },
      { weight: 1, arbitrary: fc.constantFrom("PUT", "DELETE", "PATCH", "OPTIONS", "HEAD") },
    ),
    names: fc.tuple(anyName, anyName),
    query: given,
    body: bodyOf(operation),
    requestId: fc.option(fc.string({ maxLength: 20 }).filter((id) => /^[\x20-\x7e]*$/.test(id)), {
      nil: undefined,
    }),
  }).map(({ method, names, query, body, requestId }): FuzzRequest => ({
    method,
    path: filled(path, names) +
      (query.length > 0
        ? `?${new URLSearchParams(query.map(([k, v]) => [k, v.toWellFormed?.() ?? "x"]))}`
        : ""),
    headers: requestId === undefined ? {} : { "x-request-id": requestId },
    body: method === "GET" || method === "HEAD" ? undefined : body,
  }));
}

/** Requests of a document's every operation, as often the one as the other. */
export function requestsOf({ paths }: Document): fc.Arbitrary<FuzzRequest> {
  return fc.oneof(
    ...Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations).map(([method, operation]) => requestOf(path, method, operation))
    ),
  );
}

/** Statuses that a server may always answer with: 503 and 504 say that it was asked too much. */
const isAllowed = (status: number): boolean => status < 500 || status === 503 || status === 504;

/** Asks one request, and looks at what every answer must have. */
export async function askOnce(
  app: Hono,
  { method, path, headers, body }: FuzzRequest,
  token: string,
): Promise<number> {
  const response = await app.request(path, {
    method,
    headers: { ...headers, authorization: `Bearer ${token}` },
    body,
  });
  const { status } = response;
  assert.ok(response.headers.get("x-request-id"), "an answer names its request");
  const bytes = new Uint8Array(await response.arrayBuffer());
  assert.ok(isAllowed(status), `status ${status}: ${new TextDecoder().decode(bytes.subarray(0, 400))}`);
  if (status >= 400 && method !== "HEAD") {
    const { error } = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    assert.deepEqual(Object.keys(error).sort(), ["code", "message", "param", "type"]);
    assert.ok(error.message.length > 0 && error.message.length <= 450, error.message);
  }
  return status;
}

/** The demo's server, small enough that a request takes milliseconds. */
export async function fuzzedApp(): Promise<
  { readonly app: Hono; readonly token: string; readonly close: () => void }
> {
  const device = cpuDevice(), token = "fuzzing-token-123456";
  const managed = new ManagedStore(await openAdapterStore(fileURLToPath(new URL("adapters", demo))));
  const { engine, tokenizer, registry } = await openModel(device, {
    folder: await openFolder(fileURLToPath(new URL("base", demo))),
    adapters: managed,
    maxModelLen: 16,
    engine: { maxSequences: 8 },
    registry: { capacity: 3 },
  });
  const app = createApp({
    model: { id: "base", createdUnixSeconds: 0, engine, tokenizer },
    adapters: registry,
    admin: new AdapterAdmin(managed, registry),
    limits: { maxSequencesPerRequest: 4, maxBodyBytes: 2 ** 14, maxTensorBytes: 2 ** 19 },
    auth: { operator: { tokens: [token] } },
  });
  return { app, token, close: () => device.destroy() };
}

/** Asks as many requests, some at once; gives the statuses' counts. */
export async function fuzz(
  { app, token }: { readonly app: Hono; readonly token: string },
  { runs, seed }: { readonly runs: number; readonly seed: number },
): Promise<Record<number, number>> {
  const headers = { authorization: `Bearer ${token}` };
  const document = await (await app.request("/openapi.json", { headers })).json() as Document;
  const counts: Record<number, number> = {};
  await fc.assert(
    fc.asyncProperty(fc.array(requestsOf(document), { minLength: 1, maxLength: 8 }), async (requests) => {
      const statuses = await Promise.all(requests.map((request) => askOnce(app, request, token)));
      for (const status of statuses) counts[status] = (counts[status] ?? 0) + 1;
    }),
    // About four and a half to a round.
    { numRuns: Math.ceil(runs / 4.5), seed },
  );
  return counts;
}

const gauges = /^fourierft:(open_requests|request_memory_bytes) (.+)$/gm;

/** Checks that nothing of all requests is left. */
export async function checkAtRest({ app }: { readonly app: Hono }): Promise<void> {
  const text = await (await app.request("/metrics")).text();
  const left = [...text.matchAll(gauges)].map(([, name, value]) => [name, Number(value)]);
  assert.deepEqual(left, [["open_requests", 0], ["request_memory_bytes", 0]]);
}

/** Megabytes of the process, and of its heap after a collection, where the runtime has one to ask for. */
function megabytes(): string {
  (globalThis as { gc?: () => void }).gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return `${(rss / 2 ** 20).toFixed(0)} MiB, heap ${(heapUsed / 2 ** 20).toFixed(0)} MiB`;
}

if (import.meta.main) {
  const [runs = 100_000, firstSeed = Date.now() % 2 ** 31] = process.argv.slice(2).map(Number);
  const fuzzed = await fuzzedApp(), total: Record<number, number> = {};
  let asked = 0;
  for (let seed = firstSeed; asked < runs; seed++) {
    const counts = await fuzz(fuzzed, { runs: Math.ceil(runs / 10), seed });
    await checkAtRest(fuzzed);
    for (const [status, count] of Object.entries(counts)) {
      total[Number(status)] = (total[Number(status)] ?? 0) + count;
      asked += count;
    }
    console.log(`asked ${asked}, seed ${seed}: ${JSON.stringify(counts)}; ${megabytes()}`);
  }
  console.log(`asked ${asked} in all: ${JSON.stringify(total)}`);
  fuzzed.close();
}

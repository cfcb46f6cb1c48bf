import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  AdapterAdmin,
  type AdapterChange,
  AdapterRegistry,
  ConfigError,
  cpuDevice,
  ManagedStore,
  NotFoundError,
  openModel,
  OverloadedError,
} from "../mod.ts";
import { openAdapterStore, openFolder } from "../src/runtime/mod.ts";
import type { AdapterStore, StoredAdapter } from "../src/adapters/store.ts";
import { createClient } from "../src/client/mod.ts";
import { createApp } from "../src/server/mod.ts";
import { demo } from "./demo_model.ts";
import { memoryFolder } from "../src/testing/mod.ts";

// deno-lint-ignore no-explicit-any -- answers are JSON that each test looks into
type Json = any;

const device = cpuDevice();
const folder = await openAdapterStore(fileURLToPath(new URL("adapters", demo)));
/** The demo's adapters, a broken one among them. */
function store(): AdapterStore {
  const broken: StoredAdapter = {
    folder: memoryFolder(
      new Map([["adapter_config.json", '{"peft_type":"LORA"}'], ["adapter_model.safetensors", "x"]]),
    ),
    version: "1",
    modifiedUnixSeconds: 1,
  };
  return {
    list: async () => Object.freeze([...await folder.list(), "broken"]),
    open: (id) => id === "broken" ? Promise.resolve(broken) : folder.open(id),
  };
}

function setUp() {
  const managed = new ManagedStore(store());
  const registry = new AdapterRegistry(device, managed);
  return { managed, registry, admin: new AdapterAdmin(managed, registry) };
}

test("AdapterAdmin loads an adapter of the store by another name, replaces it, and unloads it", async () => {
  const { registry, admin, managed } = setUp();
  const names = async () => await registry.names();
  const before = await names();
  assert.ok(!before.includes("king"));
  const { digest } = await admin.load("king", "fourierft-kjv");
  assert.equal(digest, (await admin.load("fourierft-kjv")).digest);
  assert.deepEqual(await names(), [...before, "king"].sort());
  const replaced = await admin.load("king", "lora-kjv");
  assert.notEqual(replaced.digest, digest);
  assert.equal(managed.keyOf("king"), "lora-kjv");
  await admin.unload("king");
  await assert.rejects(registry.card("king"), NotFoundError);
  await admin.unload("fourierft-kjv");
  await assert.rejects(registry.load("fourierft-kjv"), NotFoundError);
  assert.deepEqual(await names(), before.filter((name) => name !== "fourierft-kjv"));
  await assert.rejects(admin.unload("fourierft-kjv"), NotFoundError);
  await admin.load("fourierft-kjv");
  assert.deepEqual(await names(), before);
});

test("AdapterAdmin changes nothing when an adapter cannot be loaded", async () => {
  const { registry, admin } = setUp();
  await admin.load("king", "fourierft-kjv");
  const { digest } = await registry.card("king");
  const broken = assert.rejects(admin.load("king", "broken"), ConfigError);
  // Meanwhile, too, nobody meets the broken one.
  assert.equal((await registry.load("king")).digest, digest);
  await broken;
  await assert.rejects(admin.load("king", "nothing"), NotFoundError);
  for (const name of ["../x", "a/b", "", ".hidden", "a:b", "C:\\x", "%2e%2e/x\0"]) {
    await assert.rejects(admin.load("king", name), RangeError, name);
    await assert.rejects(admin.load(name, "fourierft-kjv"), RangeError, name);
  }
  assert.equal((await registry.load("king")).digest, digest);
});

test("The log names a refused adapter by the name that it was sent or stored by", async () => {
  const lines: string[] = [], managed = new ManagedStore(store());
  const registry = new AdapterRegistry(device, managed, { log: (line) => lines.push(line) });
  const admin = new AdapterAdmin(managed, registry);
  const files = new Map([["adapter_config.json", '{"peft_type":"LORA"}'], [
    "adapter_model.safetensors",
    "x",
  ]].map(([name, text]) => [name, new TextEncoder().encode(text)]));
  await assert.rejects(admin.send("king", files), ConfigError);
  await assert.rejects(admin.load("queen", "broken"), ConfigError);
  assert.deepEqual(lines.map((line) => line.split(":")[0]), [
    'adapter "king" is not taken',
    'adapter "broken" is not taken',
  ]);
});

test("AdapterAdmin tells of what it changed, and follows what others tell without telling of it", async () => {
  const told: AdapterChange[] = [], managed = new ManagedStore(store());
  const registry = new AdapterRegistry(device, managed);
  const admin = new AdapterAdmin(managed, registry, { tell: (change) => told.push(change) });
  const other = setUp();
  await admin.load("king", "fourierft-kjv");
  await assert.rejects(admin.load("king", "broken"), ConfigError);
  await admin.unload("fourierft-kjv");
  await assert.rejects(admin.unload("fourierft-kjv"), NotFoundError);
  assert.deepEqual(told, [
    { kind: "loaded", name: "king", source: "fourierft-kjv" },
    { kind: "unloaded", name: "fourierft-kjv" },
  ]);
  for (const change of told) await other.admin.follow(change);
  const { digest } = await other.registry.card("king");
  assert.equal(digest, (await registry.card("king")).digest);
  await assert.rejects(other.registry.card("fourierft-kjv"), NotFoundError);
  // Nothing is there to unload any more, and what is broken changes nothing.
  await other.admin.follow(told[1]);
  await assert.rejects(other.admin.follow({ kind: "loaded", name: "king", source: "broken" }), ConfigError);
  assert.equal((await other.registry.card("king")).digest, digest);
  await admin.follow({ kind: "loaded", name: "queen", source: "lora-kjv" });
  assert.equal(told.length, 2);
});

test("AdapterAdmin changes nothing when an adapter has no room on the device even alone", async () => {
  const { managed, registry } = setUp();
  const tooLarge = new AdapterAdmin(managed, {
    list: () => registry.list(),
    card: (id) => registry.card(id),
    modules: (id) => registry.modules(id),
    apply: (id, module, input) => registry.apply(id, module, input),
    delta: (id, module, shape) => registry.delta(id, module, shape),
    preload: () => Promise.reject(new RangeError("too large")),
  });
  const before = await registry.names();
  await assert.rejects(tooLarge.load("king", "fourierft-kjv"), /too large/);
  assert.deepEqual(await registry.names(), before);
  await new AdapterAdmin(managed, registry).load("king", "fourierft-kjv");
  const { digest } = await registry.load("king");
  await assert.rejects(tooLarge.load("king", "lora-kjv"), /too large/);
  assert.equal((await registry.load("king")).digest, digest);
  managed.remove("king");
  await assert.rejects(tooLarge.load("king", "lora-kjv"), /too large/);
  await assert.rejects(registry.load("king"), NotFoundError);
});

test("AdapterAdmin makes changes one after the other", async () => {
  const { registry, admin } = setUp();
  const digests = new Map<string, string>();
  for (const key of ["fourierft-kjv", "lora-kjv"]) digests.set(key, (await admin.load(key)).digest!);
  const keys = Array.from({ length: 20 }, (_, i) => i % 2 === 0 ? "fourierft-kjv" : "lora-kjv");
  await Promise.allSettled(keys.flatMap((key) => [admin.load("king", key), admin.load("king", "broken")]));
  assert.equal((await registry.load("king")).digest, digests.get(keys.at(-1)!));
});

const token = "operator-token-123456";

function served() {
  const { registry, admin } = setUp();
  const app = createApp({ adapters: registry, admin, auth: { operator: { tokens: [token] } } });
  const ask = (method: string, path: string, body?: unknown, bearer = token) =>
    Promise.resolve(app.request(path, {
      method,
      headers: { authorization: `Bearer ${bearer}` },
      body: body === undefined ? undefined : JSON.stringify(body),
    }));
  return { app, ask };
}

test("createApp() has the operator's routes for the operator's token alone", async () => {
  const { app, ask } = served();
  const routes: [string, string, unknown?][] = [
    ["GET", "/v1/adapters"],
    ["POST", "/v1/adapters", { id: "x" }],
    ["GET", "/v1/adapters/lora-kjv"],
    ["PUT", "/v1/adapters/lora-kjv"],
    ["DELETE", "/v1/adapters/lora-kjv"],
    ["POST", "/v1/adapters/lora-kjv/pin", {}],
    ["POST", "/v1/load_lora_adapter", { lora_name: "x", lora_path: "lora-kjv" }],
    ["POST", "/v1/unload_lora_adapter", { lora_name: "lora-kjv" }],
  ];
  for (const [method, path, body] of routes) {
    assert.equal((await ask(method, path, body, "another-token-123456")).status, 401, path);
  }
  assert.equal((await app.request("/v1/models/lora-kjv")).status, 200);
  const own = createApp({ adapters: setUp().registry, auth: { operator: { tokens: [token] } } });
  assert.equal(
    (await own.request("/v1/adapters", { headers: { authorization: `Bearer ${token}` } })).status,
    404,
  );
  const tenants = [{ id: "a", tokens: ["token-of-a-1234567"] }];
  const { registry, admin } = setUp();
  const both = createApp({ adapters: registry, admin, auth: { tenants, operator: { tokens: [token] } } });
  const status = async (path: string, bearer: string) =>
    (await both.request(path, { headers: { authorization: `Bearer ${bearer}` } })).status;
  assert.equal(await status("/v1/adapters", "token-of-a-1234567"), 403);
  assert.equal(await status("/v1/adapters", token), 200);
  assert.equal(await status("/v1/models", token), 403);
});

test("POST /v1/adapters loads, DELETE unloads, and pages of a list follow each other", async () => {
  const { app, ask } = served();
  const made: Json = await (await ask("POST", "/v1/adapters", { id: "king", source: "fourierft-kjv" }))
    .json();
  assert.deepEqual([made.id, made.adapter.peft_type, made.adapter.pinned], ["king", "FOURIERFT", false]);
  assert.equal((await app.request("/v1/models/king")).status, 200);
  const all: string[] = (await (await ask("GET", "/v1/adapters")).json()).data.map(({ id }: Json) => id);
  assert.ok(all.includes("king"));
  const paged: string[] = [];
  for (let more = true; more;) {
    const after = paged.length > 0 ? `&after=${paged.at(-1)}` : "";
    const { data, has_more }: Json = await (await ask("GET", `/v1/adapters?limit=2${after}`)).json();
    paged.push(...data.map(({ id }: Json) => id));
    more = has_more;
    assert.ok(data.length <= 2);
  }
  assert.deepEqual(paged, all);
  for (const limit of ["0", "-1", "x", "10001", ""]) {
    assert.equal((await ask("GET", `/v1/adapters?limit=${limit}`)).status, 400, limit);
  }
  assert.deepEqual(await (await ask("DELETE", "/v1/adapters/king")).json(), {
    id: "king",
    object: "model",
    deleted: true,
  });
  assert.equal((await app.request("/v1/models/king")).status, 404);
  assert.equal((await ask("DELETE", "/v1/adapters/king")).status, 404);
  assert.equal((await ask("GET", "/v1/adapters/king")).status, 404);
  const broken = await ask("POST", "/v1/adapters", { id: "king", source: "broken" });
  assert.equal(broken.status, 422);
  assert.match((await broken.json()).error.message, /^Cannot use adapter "broken": /);
  assert.equal((await ask("POST", "/v1/adapters", { id: "king", source: "../../etc" })).status, 400);
  assert.equal((await ask("POST", "/v1/adapters", { id: "king", url: "http://127.0.0.1/" })).status, 400);
});

/** A form with an adapter's files. */
function adapterForm(files: Readonly<Record<string, Uint8Array<ArrayBuffer> | string>>): FormData {
  const form = new FormData();
  for (const [name, content] of Object.entries(files)) form.append(name, new Blob([content]), name);
  return form;
}

/** A demo adapter's files. */
function filesOf(
  name: string,
): Record<"adapter_config.json" | "adapter_model.safetensors", Uint8Array<ArrayBuffer>> {
  const read = (file: string) => new Uint8Array(readFileSync(new URL(`adapters/${name}/${file}`, demo)));
  return {
    "adapter_config.json": read("adapter_config.json"),
    "adapter_model.safetensors": read("adapter_model.safetensors"),
  };
}

test("PUT /v1/adapters/ID serves an adapter that was sent, until another has its name or none", async () => {
  const { app } = served();
  const client = createClient({
    baseUrl: "http://127.0.0.1",
    token,
    fetch: async (input, init) => await app.request(input, init),
  });
  const blobs = (name: string) => {
    const { "adapter_config.json": config, "adapter_model.safetensors": weights } = filesOf(name);
    return { "adapter_config.json": new Blob([config]), "adapter_model.safetensors": new Blob([weights]) };
  };
  const { adapter } = await client.sendAdapter("mine", blobs("fourierft-kjv"));
  assert.deepEqual([adapter?.peft_type, adapter?.size_bytes], [
    "FOURIERFT",
    Object.values(filesOf("fourierft-kjv")).reduce((sum, { length }) => sum + length, 0),
  ]);
  assert.equal(adapter?.digest, (await client.loadAdapter({ id: "fourierft-kjv" })).adapter?.digest);
  const module = "model.layers.0.self_attn.q_proj", shape = { out: 256, in: 256 };
  assert.deepEqual(
    (await client.delta("mine", module, { shape })).data,
    (await client.delta("fourierft-kjv", module, { shape })).data,
  );
  assert.equal((await client.sendAdapter("mine", blobs("lora-kjv"))).adapter?.peft_type, "LORA");
  await client.unloadAdapter("mine");
  assert.equal((await app.request("/v1/models/mine")).status, 404);
});

test("PUT /v1/adapters/ID refuses what is no adapter, and whoever is not the operator", async () => {
  const { app } = served();
  const headers = { authorization: `Bearer ${token}` };
  const send = async (form: BodyInit, id = "mine", more: HeadersInit = headers) => {
    const response = await app.request(`/v1/adapters/${id}`, { method: "PUT", body: form, headers: more });
    return [response.status, (await response.json()).error.message];
  };
  const files = filesOf("lora-kjv-r1");
  const cases: [BodyInit, number, RegExp][] = [
    [adapterForm({ "adapter_config.json": files["adapter_config.json"] }), 400, /safetensors" is missing/],
    [adapterForm({ ...files, "README.md": "x" }), 400, /there is "README.md"/],
    [adapterForm({ ...files, "adapter_model.safetensors": "x" }), 422, /^Cannot use adapter "mine": /],
    ["{}", 400, /must be multipart\/form-data/],
  ];
  for (const [form, status, message] of cases) {
    const [given, said] = await send(form);
    assert.equal(given, status, said);
    assert.match(said, message);
  }
  const twice = adapterForm(files);
  twice.append("adapter_config.json", "{}");
  assert.match((await send(twice))[1], /is there twice/);
  const cut = { ...headers, "content-type": "multipart/form-data; boundary=x" };
  assert.match((await send("--x\r\n", "mine", cut))[1], /^Cannot read the request's files: /);
  assert.equal((await send(adapterForm(files), "a%2Fb"))[0], 400);
  assert.equal((await send(adapterForm(files), "mine", {}))[0], 401);
  assert.equal((await app.request("/v1/models/mine")).status, 404);
});

test("ManagedStore keeps so many bytes of what was sent, and no adapter that has lost its name", async () => {
  const files = new Map(Object.entries(filesOf("lora-kjv-r1")));
  const bytes = [...files.values()].reduce((sum, { length }) => sum + length, 0);
  const managed = new ManagedStore(store(), { uploadBytes: 2 * bytes });
  const admin = new AdapterAdmin(managed, new AdapterRegistry(device, managed));
  await admin.send("a", files);
  await admin.send("b", files);
  await assert.rejects(admin.send("c", files), OverloadedError);
  assert.equal(await managed.open("c"), undefined);
  await admin.unload("a");
  await admin.send("c", files);
  // A broken one leaves what its name stood for, and takes no room.
  await admin.unload("b");
  const broken = new Map([...files, ["adapter_model.safetensors", new Uint8Array(8)]]);
  await assert.rejects(admin.send("c", broken), ConfigError);
  await admin.send("b", files);
  assert.equal((await admin.load("c", "lora-kjv-r1")).id, "c");
  await admin.send("d", files);
});

test("vLLM's load and unload answer as vLLM's do, and take no path", async () => {
  const { app, ask } = served();
  const load = (body: Json) => ask("POST", "/v1/load_lora_adapter", body);
  const loaded = await load({ lora_name: "sql", lora_path: "lora-kjv" });
  assert.equal(loaded.status, 200);
  assert.equal(await loaded.text(), "Success: LoRA adapter 'sql' added successfully.");
  assert.equal((await app.request("/v1/models/sql")).status, 200);
  const again = await load({ lora_name: "sql", lora_path: "fourierft-kjv" });
  assert.equal(again.status, 400);
  assert.equal((await again.json()).error.code, "adapter_loaded");
  assert.equal(
    (await load({ lora_name: "sql", lora_path: "fourierft-kjv", load_inplace: true })).status,
    200,
  );
  assert.equal((await (await app.request("/v1/models/sql")).json()).adapter.peft_type, "FOURIERFT");
  for (
    const lora_path of ["/etc/passwd", "../x", "http://127.0.0.1:1/x", "file:///etc", "lora-kjv/../lora-kjv"]
  ) {
    assert.equal((await load({ lora_name: "evil", lora_path })).status, 400, lora_path);
  }
  assert.equal((await load({ lora_name: "none", lora_path: "none" })).status, 404);
  const twins = await Promise.all(["lora-kjv", "fourierft-kjv"].map((lora_path) => {
    return load({ lora_name: "twin", lora_path });
  }));
  assert.deepEqual(twins.map(({ status }) => status).sort(), [200, 400], "one wins, the other is told");
  const unloaded = await ask("POST", "/v1/unload_lora_adapter", { lora_name: "sql", lora_int_id: null });
  assert.equal(await unloaded.text(), "Success: LoRA adapter 'sql' removed successfully.");
  assert.equal((await ask("POST", "/v1/unload_lora_adapter", { lora_name: "sql" })).status, 404);
});

test("AdapterRegistry keeps pinned adapters on the device, and unloads those in use when they are free", async () => {
  const sources = ["fourierft-devil", "fourierft-jargon", "fourierft-kjv"];
  const { registry } = await openModel(device, {
    folder: await openFolder(fileURLToPath(new URL("base", demo))),
    adapters: folder,
    maxModelLen: 16,
    engine: { maxSequences: 1 },
    registry: { capacity: 2 },
  });
  const [a, b, c] = sources;
  const levels = () => Object.fromEntries(registry.stats().resident.map(({ id, level }) => [id, level]));
  await registry.pin(a, true);
  await registry.preload(b);
  assert.deepEqual(levels(), { [a]: "pinned", [b]: "cached" });
  await registry.preload(c);
  assert.deepEqual(levels(), { [a]: "pinned", [c]: "cached" });
  assert.equal((await registry.card(a)).pinned, true);
  const lease = await registry.acquire(c);
  assert.deepEqual(levels(), { [a]: "pinned", [c]: "in_use" });
  await registry.unload(c);
  assert.equal(levels()[c], "in_use");
  lease.release();
  assert.equal(levels()[c], undefined);
  await registry.pin(b, true);
  await assert.rejects(registry.pin(c, true), /take all slots/);
  assert.equal((await registry.card(c)).pinned, undefined);
  await registry.pin(a, false);
  await registry.preload(c);
  assert.deepEqual(levels(), { [b]: "pinned", [c]: "cached" });
  const { hits, misses, evictions, loads } = registry.stats();
  assert.deepEqual([misses, evictions], [5, { capacity: 2, unload: 1 }]);
  assert.ok(hits >= 1 && loads >= 3);
});

test("AdapterRegistry unloads no adapter that another name is pinned to", async () => {
  const managed = new ManagedStore(folder);
  const { registry } = await openModel(device, {
    folder: await openFolder(fileURLToPath(new URL("base", demo))),
    adapters: managed,
    maxModelLen: 16,
    engine: { maxSequences: 1 },
    registry: { capacity: 2 },
  });
  const admin = new AdapterAdmin(managed, registry);
  await admin.load("king", "fourierft-kjv");
  await admin.pin("fourierft-kjv", true);
  const levels = () => registry.stats().resident.map(({ level }) => level);
  await admin.unload("king");
  assert.deepEqual(levels(), ["pinned"]);
  await admin.unload("fourierft-kjv");
  assert.deepEqual(levels(), []);
});

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Hono } from "hono";
import { isSafe } from "redos-detector";
import { AdapterAdmin, AdapterRegistry, cpuDevice, ManagedStore } from "../mod.ts";
import { openAdapterStore } from "../src/runtime/mod.ts";
import { createApp } from "../src/server/mod.ts";
import { root, sourcesUnder } from "./architecture.ts";
import { demo, demoTokenizer } from "./demo_model.ts";
import { fakeAdapters, fakeEngine } from "./server_fakes.ts";

// deno-lint-ignore no-explicit-any -- answers are JSON that each test looks into
type Json = any;

const token = "operator-token-123456";
const tokenizer = await demoTokenizer();
const device = cpuDevice();
const module = "module=model.layers.0.self_attn.q_proj&shape=256x256";

/** A server of adapters in a folder, and its operator's routes. */
async function servedFolder(folder: string): Promise<Hono> {
  const managed = new ManagedStore(await openAdapterStore(folder));
  const adapters = new AdapterRegistry(device, managed);
  return createApp({
    adapters,
    admin: new AdapterAdmin(managed, adapters),
    auth: { operator: { tokens: [token] } },
  });
}

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "fourierft-safe-"));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const adapters = fileURLToPath(new URL("adapters", demo));

/** Every way to say a name that leads elsewhere. */
function ways(name: string): string[] {
  const once = encodeURIComponent(name).replaceAll(".", "%2e");
  return [
    name,
    encodeURIComponent(name),
    once,
    once.replaceAll("%", "%25"),
    name.replaceAll("/", "\\"),
    `${name}\0`,
  ];
}

test("createApp() leads nowhere outside the folder: paths, encoded once and twice, and links", async () => {
  await withFolder(async (folder) => {
    const inside = join(folder, "adapters"), outside = join(folder, "outside");
    await mkdir(inside);
    await symlink(join(adapters, "lora-kjv"), outside);
    await symlink(outside, join(inside, "linked"));
    await symlink(join(adapters, "lora-kjv"), join(inside, "direct"));
    await mkdir(join(inside, "files"));
    for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
      await symlink(join(adapters, "lora-kjv", name), join(inside, "files", name));
    }
    await mkdir(join(inside, "own"));
    for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
      await writeFile(join(inside, "own", name), readFileSync(join(adapters, "lora-kjv", name)));
    }
    const app = await servedFolder(inside);
    assert.equal((await app.request(`/v1/adapters/own/delta?${module}`)).status, 200);
    const names = [
      "../outside",
      "own/../../outside",
      "linked",
      "direct",
      join(folder, "outside"),
      "./own",
      "own/.",
    ];
    for (const name of names.flatMap(ways)) {
      const path = name.replaceAll("\0", "%00");
      for (const url of [`/v1/models/${path}`, `/v1/adapters/${path}/delta?${module}`]) {
        const { status } = await app.request(url);
        // The address itself may lead back to what may be had.
        const plain = new URL(url, "http://localhost").pathname;
        const back = ["/v1/models/own", "/v1/models/own/", "/v1/adapters/own/delta"].includes(plain);
        assert.ok(back ? status === 200 || status === 404 : status === 404, `${url}: ${status}`);
      }
      const body = JSON.stringify({ lora_name: "evil", lora_path: name });
      const headers = { authorization: `Bearer ${token}` };
      const loaded = await app.request("/v1/load_lora_adapter", { method: "POST", headers, body });
      assert.ok([400, 404].includes(loaded.status), `${name}: ${loaded.status}`);
    }
    // Its folder is inside, its files are not.
    const { status } = await app.request(`/v1/adapters/files/delta?${module}`);
    assert.ok([404, 422].includes(status), String(status));
  });
});

test("createApp() fetches no address, wherever a request names one", async () => {
  const original = globalThis.fetch;
  const asked: string[] = [];
  globalThis.fetch = ((input: RequestInfo | URL) => {
    asked.push(String(input));
    return Promise.reject(new Error("no network"));
  }) as typeof fetch;
  try {
    const app = createApp({
      model: { id: "m", createdUnixSeconds: 0, engine: fakeEngine({ reply: () => [65] }), tokenizer },
      adapters: fakeAdapters(),
    });
    const post = (path: string, body: unknown) =>
      Promise.resolve(app.request(path, { method: "POST", body: JSON.stringify(body) }));
    for (
      const url of ["http://169.254.169.254/latest", "https://a.example/x", "file:///etc/passwd", "ftp://a/"]
    ) {
      const part = (type: string) => [{ role: "user", content: [{ type, [type]: { url } }] }];
      const bodies: [string, unknown, number][] = [
        ["/v1/completions", { model: url, prompt: "a" }, 404],
        ["/v1/completions", { model: "m", adapters: [{ id: url }], prompt: "a" }, 404],
        ["/v1/completions", { model: "m", prompt: url }, 200],
        ["/v1/chat/completions", { model: "m", messages: part("image_url") }, 400],
        ["/v1/chat/completions", { model: "m", messages: part("input_audio") }, 400],
        ["/v1/chat/completions", { model: "m", messages: part("file") }, 400],
        ["/v1/embeddings", { model: url, input: url }, 404],
      ];
      for (const [path, body, status] of bodies) {
        const response = await post(path, body);
        assert.equal(response.status, status, `${path} ${JSON.stringify(body)}: ${await response.text()}`);
      }
      assert.equal((await app.request(`/v1/models/${url}`)).status, 404);
      assert.equal(
        (await app.request(`/v1/adapters/${encodeURIComponent(url)}/delta?${module}`)).status,
        404,
      );
    }
    assert.deepEqual(asked, []);
  } finally {
    globalThis.fetch = original;
  }
});

test("createApp() refuses fields that would reach an object's prototype, and changes none", async () => {
  const app = createApp({
    model: { id: "m", createdUnixSeconds: 0, engine: fakeEngine({ reply: () => [65] }), tokenizer },
    adapters: fakeAdapters(),
  });
  const bodies = [
    '{"model":"m","prompt":"a","__proto__":{"polluted":1}}',
    '{"model":"m","prompt":"a","constructor":{"prototype":{"polluted":1}}}',
    '{"model":"m","prompt":"a","prototype":{"polluted":1}}',
    '{"model":"m","prompt":"a","stream":true,"stream_options":{"__proto__":{"polluted":1},"include_usage":true}}',
    '{"model":"m","prompt":"a","adapters":[{"id":"kjv","__proto__":{"polluted":1}}]}',
    '{"model":"m","prompt":"a","hasOwnProperty":1}',
    '{"model":"m","prompt":"a","toString":"x"}',
  ];
  for (const body of bodies) {
    const response = await app.request("/v1/completions", { method: "POST", body });
    const { error }: Json = await response.json();
    assert.equal(response.status, 400, body);
    assert.equal(error.code, "unknown_field", body);
  }
  const nested = '{"model":"m","messages":[{"role":"user","content":"a","__proto__":{"polluted":1}}]}';
  await (await app.request("/v1/chat/completions", { method: "POST", body: nested })).text();
  assert.equal(({} as Json).polluted, undefined);
  assert.equal(([] as Json).polluted, undefined);
});

/** A regular expression where the grammar allows one; a division stands after a name or a bracket. */
const literal =
  /(?<=[(=:,!&|?;{}[]\s*|return\s+|=>\s*)\/(?![*/])((?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+)\/([dgimsuvy]*)(?=[\s.,;)\]])/g;

/** Files whose regular expressions meet what a request brings. */
const meeting = ["src/server", "src/adapters/names.ts", "src/json.ts"];

test("regular expressions that meet requests take time in proportion to the text", () => {
  const files = [...sourcesUnder("src/server"), ...sourcesUnder("src/adapters")].map(({ path }) => path)
    .filter((path) => meeting.some((part) => path.startsWith(part)));
  const found = files.flatMap((path) =>
    [...readFileSync(join(root, path), "utf8").matchAll(literal)].map(([, source, flags]) => ({
      path,
      source,
      flags,
    }))
  );
  assert.ok(found.length >= 15, `only ${found.length} were found`);
  assert.ok(found.some(({ source }) => source.startsWith("^bearer ")), "that of tokens is among them");
  const slow = found.filter(({ source, flags }) => {
    // The reader of regular expressions knows these alone.
    const kept = [...flags].filter((flag) => "iu".includes(flag)).join("");
    return !isSafe(new RegExp(source, kept), { maxScore: 200 }).safe;
  });
  assert.deepEqual(slow, []);
  assert.equal(isSafe(/^(a+)+$/, { maxScore: 200 }).safe, false, "a slow one is found");
});

test("createApp() says nothing of a token, a path or a stack, whatever fails", async () => {
  const logged: string[] = [];
  const app = createApp({
    adapters: fakeAdapters({ list: () => Promise.reject(new Error("EACCES /home/somebody/secret")) }),
    log: (line) => logged.push(line),
    auth: { tenants: [{ id: "a", tokens: [token] }] },
  });
  const response = await app.request("/v1/models", { headers: { authorization: `Bearer ${token}` } });
  const text = await response.text();
  assert.equal(response.status, 500);
  assert.ok(!text.includes("somebody") && !text.includes(token) && !text.includes(".ts:"));
  assert.ok(logged[0].includes("somebody") && !logged[0].includes(token));
});

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { test } from "node:test";
import { buildPlayground } from "../playground/build.ts";
import { readPage } from "../src/cli/page.ts";
import { loadingApp } from "../src/server/loading.ts";
import { createApp, type Page } from "../src/server/mod.ts";
import { fakeAdapters } from "./server_fakes.ts";

const script = 'console.log("page");';

/** The page that a build would have written. */
async function builtPage(): Promise<Page> {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-playground-"));
  try {
    mkdirSync(join(folder, "assets"));
    mkdirSync(join(folder, "demo"));
    writeFileSync(join(folder, "index.html"), "<!doctype html><title>page</title>");
    writeFileSync(join(folder, "playground.json"), "{}");
    writeFileSync(join(folder, "assets/page.js"), script);
    writeFileSync(join(folder, "demo/secret"), "no file of the page");
    return (await readPage(pathToFileURL(`${folder}/`)))!;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const page = await builtPage();

test("playground: the server has the page at /, its files, and its own configuration", async () => {
  const app = createApp({ adapters: fakeAdapters(), page });
  const index = await app.request("/");
  assert.equal(index.status, 200);
  assert.equal(index.headers.get("content-type"), "text/html; charset=utf-8");
  assert.equal(index.headers.get("content-security-policy"), "frame-ancestors 'none'");
  assert.equal(index.headers.get("cross-origin-embedder-policy"), "require-corp");
  assert.match(await index.text(), /<title>page/);
  assert.deepEqual(await (await app.request("/playground.json")).json(), { server: "./", models: [] });
  for (const path of ["/demo/secret", "/assets/other.js", "/assets/", "/assets/..%2findex.html"]) {
    const missing = await app.request(path);
    assert.equal(missing.status, 404, path);
    assert.equal((await missing.json()).error.code, "unknown_url");
  }
  assert.equal((await app.request("/", { method: "POST" })).status, 404);
  assert.equal((await app.request("/v1/models")).status, 200);
});

test("playground: a file comes packed to whom takes it so, and not again to whom has it", async () => {
  const app = createApp({ adapters: fakeAdapters(), page });
  const packed = await app.request("/assets/page.js", { headers: { "accept-encoding": "br, gzip" } });
  assert.equal(packed.headers.get("content-encoding"), "gzip");
  assert.equal(gunzipSync(new Uint8Array(await packed.arrayBuffer())).toString(), script);
  const plain = await app.request("/assets/page.js");
  assert.equal(plain.headers.get("content-encoding"), null);
  assert.equal(await plain.text(), script);
  const headers = { "if-none-match": plain.headers.get("etag")! };
  const again = await app.request("/assets/page.js", { headers });
  assert.equal(again.status, 304);
  assert.equal(await again.text(), "");
});

test("playground: the page needs no token where the routes do", async () => {
  const auth = { tenants: [{ id: "a", tokens: ["token-of-a-1234567"] }] };
  const app = createApp({ adapters: fakeAdapters(), page, auth });
  assert.equal((await app.request("/")).status, 200);
  assert.equal((await app.request("/v1/models")).status, 401);
});

test("playground: hosts that are not allowed see no page", async () => {
  const app = createApp({ adapters: fakeAdapters(), page, access: { allowedHosts: ["localhost"] } });
  assert.equal((await app.request("http://evil.example/")).status, 403);
});

test("playground: the page is there while the model loads, and waits", async () => {
  const app = loadingApp(page);
  assert.equal((await app.request("/")).status, 200);
  assert.equal((await app.request("/ready")).status, 503);
  assert.equal((await app.request("/v1/models")).status, 503);
});

/** Bytes of a file, packed. */
const packedBytes = (path: string): number => gzipSync(readFileSync(path), { level: 9 }).length;

test("playground: the built page is small, and loads nothing from elsewhere", async () => {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-playground-"));
  try {
    await buildPlayground(folder);
    const assets = readdirSync(join(folder, "assets"));
    assert.ok(assets.includes("page.js") && assets.includes("worker.js") && assets.includes("cpu_worker.js"));
    // What an entry loads before anything is asked for: itself, and what it imports by name.
    const loaded = (name: string, seen = new Set<string>()): ReadonlySet<string> => {
      if (seen.has(name)) return seen;
      seen.add(name);
      const code = readFileSync(join(folder, "assets", name), "utf8");
      for (const [, next] of code.matchAll(/(?:from|import)\s*"\.\/([\w-]+\.js)"/g)) loaded(next, seen);
      return seen;
    };
    const sum = (names: Iterable<string>): number =>
      [...names].reduce((bytes, name) => bytes + packedBytes(join(folder, name)), 0);
    const scripts = (entry: string) => [...loaded(entry)].map((name) => `assets/${name}`);
    const page = sum(["index.html", "assets/style.css", ...scripts("page.js")]);
    // A page of a server loads no more. One that computes by itself has the whole library in its worker.
    assert.ok(page < 40_000, `the page has ${page} bytes, packed`);
    const worker = sum(scripts("worker.js"));
    assert.ok(worker < 355_000, `the worker has ${worker} bytes, packed`);
    // The library that draws is loaded when the view Spectrum is opened.
    const script = readFileSync(join(folder, "assets/page.js"), "utf8");
    const pictures = new Set([...script.matchAll(/import\("\.\/(mod-\w+\.js)"\)/g)].map(([, name]) => name));
    assert.equal(pictures.size, 1, `${[...pictures]}`);
    const drawing = sum([...pictures].map((name) => `assets/${name}`));
    assert.ok(drawing < 110_000, `what draws has ${drawing} bytes, packed`);
    const html = readFileSync(join(folder, "index.html"), "utf8");
    assert.deepEqual([...html.matchAll(/(?:src|href)="(?!data:)([^"]*)"/g)].map(([, url]) => url), [
      "assets/style.css",
      "assets/page.js",
    ]);
    assert.match(html, /default-src 'none'; script-src 'self' 'wasm-unsafe-eval'/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("playground: a server without the page's files has none", async () => {
  assert.equal(await readPage(pathToFileURL("/nowhere/")), undefined);
  assert.equal(await readPage(new URL("https://example.com/")), undefined);
  const missing = await createApp({ adapters: fakeAdapters() }).request("/");
  assert.equal(missing.status, 404);
});

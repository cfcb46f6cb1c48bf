import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { test } from "node:test";
import { buildPlayground, type BuiltScripts, root } from "../playground/build.ts";
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

/** Scripts that come with some: themselves, and what they import by name. */
function withImports(names: Iterable<string>, built: BuiltScripts, found = new Set<string>()): Set<string> {
  for (const name of names) {
    if (found.has(name)) continue;
    found.add(name);
    withImports(built.get(name)?.imports ?? [], built, found);
  }
  return found;
}

/** What an engine loads with the demo's model and adapters. */
const demo = [
  "playground/worker/worker.ts",
  "src/models/llama/forward.ts",
  "src/adapters/methods/fourierft.ts",
];

/** Sources whose scripts the page of a server loads, and one that computes by itself: of scripts of these names. */
const parts = {
  page: { of: ["page"], sources: ["playground/page.tsx"] },
  server: { of: ["page"], sources: ["playground/backend/server.ts"] },
  webgpu: { of: ["worker_webgpu"], sources: [...demo, "src/device/webgpu.ts"] },
  cpu: {
    of: ["worker_cpu", "cpu_worker"],
    sources: [...demo, "src/device/open_cpu.ts", "src/device/cpu_worker.ts"],
  },
  drawing: { of: ["page"], sources: ["src/pictures/mod.ts"] },
} as const;

test("playground: the built page is small, and loads nothing from elsewhere", async () => {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-playground-"));
  try {
    const built = await buildPlayground(folder);
    const scriptsOf = (...names: readonly (keyof typeof parts)[]): Set<string> => {
      const named = names.flatMap((part) => {
        const { of, sources }: { of: readonly string[]; sources: readonly string[] } = parts[part];
        return sources.map((wanted) => {
          const script = [...built].find(([, { entry, source }]) => of.includes(entry) && source === wanted);
          assert.ok(script, `${wanted} has a script of ${of}`);
          return script[0];
        });
      });
      return withImports(named, built);
    };
    const bytes = (names: Iterable<string>): number =>
      [...names].reduce(
        (sum, name) => sum + gzipSync(readFileSync(join(folder, name)), { level: 9 }).length,
        0,
      );
    const files = ["index.html", "assets/style.css"];
    const most: readonly (readonly [string, Iterable<string>, number])[] = [
      ["the page of a server", [...files, ...scriptsOf("page", "server")], 40_000],
      ["the page with the demo on WebGPU", [...files, ...scriptsOf("page", "webgpu")], 200_000],
      [
        "the page with the demo on the CPU",
        [...files, ...scriptsOf("page", "cpu"), "assets/kernels_relaxed.wasm"],
        200_000,
      ],
      ["what draws", scriptsOf("drawing"), 110_000],
    ];
    for (const [name, loaded, limit] of most) {
      const size = bytes(loaded);
      assert.ok(size < limit, `${name} has ${size} bytes, packed; the rule is below ${limit}`);
    }
    const programs = (part: "webgpu" | "cpu"): string[] =>
      [...scriptsOf(part)].filter((name) => readFileSync(join(folder, name), "utf8").includes("@compute"));
    assert.deepEqual(programs("cpu"), [], "on the CPU come no programs of a GPU");
    assert.notDeepEqual(programs("webgpu"), []);
    const loadedFirst = scriptsOf("page");
    for (const part of ["server", "drawing"] as const) {
      assert.ok([...scriptsOf(part)].some((name) => !loadedFirst.has(name)), `${part} comes late`);
    }
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

test("deno task playground refuses in one line a port that is none, and arguments that it does not know", () => {
  const command = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
  const cases: [readonly string[], RegExp][] = [
    [["abc"], /^Cannot serve on port "abc": it must be a whole number from 0 to 65535\. Usage: [^\n]*\n$/],
    [["65536"], /^Cannot serve on port "65536": it must be /],
    [[""], /^Cannot serve on port "": it must be /],
    [["0", "abc"], /^Cannot use argument "abc"\. Usage: [^\n]*\n$/],
  ];
  for (const [args, message] of cases) {
    const { status, stderr } = spawnSync(process.execPath, [...command, "playground/serve.ts", ...args], {
      cwd: root,
      encoding: "utf8",
    });
    assert.equal(status, 1);
    assert.match(stderr, message);
  }
});

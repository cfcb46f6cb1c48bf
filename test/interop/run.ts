/**
 * Tests the examples with other libraries: each runs in headless Chromium, on the `GPUDevice` of its library. Their packages
 * are installed in `examples/interop` alone.
 *
 * @module
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { type Browser, chromium, type Route } from "playwright-core";
import { root } from "../architecture.ts";
import { bundle } from "../browser/bundle.ts";
import { chromiumFlags, findChromium } from "../browser/chromium.ts";
import type { Distances } from "./page.ts";

const folder = join(root, "examples/interop");
const adapterFolder = join(root, "examples/demo/adapters/fourierft-kjv");
const runtimeFolder = join(folder, "node_modules/onnxruntime-web/dist");
const examples = ["onnxruntime.ts", "tensorflow.ts", "jax.ts"];

function run(command: string, args: readonly string[]): string {
  const options = { cwd: folder, encoding: "utf8", maxBuffer: 2 ** 28 } as const;
  return execFileSync(command, args, { ...options, stdio: ["ignore", "pipe", "inherit"] });
}

/** An example with its packages, as one file. */
function bundled(example: string): string {
  const options = ["--bundle", "--format=esm", "--target=es2024", "--log-level=warning"];
  return run(join(folder, "node_modules/.bin/esbuild"), [example, ...options]);
}

const html = `<!doctype html>
<script type="importmap">{ "imports": { "node:assert/strict": "/assert.js" } }</script>`;

/** Texts by path. */
type Files = Readonly<Record<string, string>>;

const types: Readonly<Record<string, string>> = {
  js: "text/javascript",
  mjs: "text/javascript",
  wasm: "application/wasm",
  json: "application/json",
  safetensors: "application/octet-stream",
};

/** A file of the page: its own, the adapter's, or one that ONNX Runtime asks for by name. */
function bodyOf(pathname: string, own: Files): string | Uint8Array | undefined {
  if (pathname === "/") return html;
  if (pathname in own) return own[pathname];
  const from = pathname.startsWith("/adapter/") ? adapterFolder : runtimeFolder;
  const path = join(from, basename(pathname));
  return existsSync(path) ? readFileSync(path) : undefined;
}

async function testExample(browser: Browser, example: string, shared: Files): Promise<Distances> {
  const own = { ...shared, "/example.js": bundled(example) };
  const opened = await browser.newPage();
  opened.on("pageerror", (error) => console.error(`${example}: ${error.message}`));
  await opened.route("**/*", (route: Route) => {
    const { pathname } = new URL(route.request().url()), body = bodyOf(pathname, own);
    if (body === undefined) return route.fulfill({ status: 404 });
    const contentType = types[pathname.split(".").pop()!] ?? "text/html";
    return route.fulfill({ contentType, body: typeof body === "string" ? body : Buffer.from(body) });
  });
  await opened.goto("http://localhost/");
  const found = await opened.evaluate<Distances>(
    `import("/page.js").then(({ check }) => check("/example.js"))`,
  );
  await opened.close();
  return found;
}

run("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
run(process.execPath, ["run", "-A", "node_modules/typescript/lib/tsc.js", "-p", "."]);
const shared = {
  "/page.js": bundle(join(import.meta.dirname!, "page.ts")),
  "/assert.js": readFileSync(join(root, "test/browser/assert.js"), "utf8"),
};
const browser = await chromium.launch({ ...findChromium(), args: chromiumFlags });
const failures: string[] = [];
try {
  for (const example of examples) {
    try {
      const { toSum, toProduct } = await testExample(browser, example, shared);
      console.log(`${example}: relative distance ${toSum.toExponential(1)} to the sum, ${toProduct} to x w`);
      assert.ok(toSum < 1e-5, `${example}: relative distance ${toSum}`);
      assert.ok(toProduct > 1e-3, `${example}: the adapter shows by ${toProduct} alone`);
    } catch (error) {
      failures.push(`${example}: ${(error as Error).message}`);
    }
  }
} finally {
  await browser.close();
}
for (const failure of failures) console.error(`FAILED ${failure}`);
console.log(`${examples.length - failures.length} passed, ${failures.length} failed`);
if (failures.length > 0) process.exitCode = 1;

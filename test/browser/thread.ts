/**
 * Checks the CPU device of a page, in one that is cross-origin isolated and in one that is not.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { bundle } from "./bundle.ts";
import type { ThreadReport } from "./thread_page.ts";

const isolating = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

async function report(
  browser: Browser,
  { files, headers, threads }: {
    readonly files: Readonly<Record<string, string>>;
    readonly headers: Readonly<Record<string, string>>;
    readonly threads?: number;
  },
): Promise<ThreadReport> {
  const page = await browser.newPage();
  await page.route("**/*", (route) => {
    const body = files[new URL(route.request().url()).pathname];
    const contentType = body === undefined ? "text/html" : "text/javascript";
    return route.fulfill({ contentType, headers, body: body ?? "<!doctype html>" });
  });
  await page.goto("http://localhost/");
  const found = await page.evaluate<ThreadReport>(
    `import("/page.js").then(({ useThreads }) => useThreads(${threads}))`,
  );
  await page.close();
  return found;
}

/** The bundle names the worker's module as the sources do. */
export async function checkThread(browser: Browser): Promise<void> {
  const here = import.meta.dirname!;
  const page = bundle(join(here, "thread_page.ts"));
  const worker = bundle(join(here, "../../src/device/cpu_worker.ts"));
  const helper = bundle(join(here, "../../src/device/cpu_helper.ts"));
  const files = { "/page.js": page, "/cpu_worker.ts": worker, "/cpu_helper.ts": helper };
  const isolated = await report(browser, { files, headers: isolating, threads: 2 });
  assert.match(isolated.description, /^CPU \(WASM (relaxed )?SIMD, 2 threads of its own\)$/);
  assert.deepEqual(isolated.sum, [5, 7, 9]);
  assert.ok(isolated.turns > 1, "the page had no turn while its device computed");
  assert.equal(isolated.product, 0.25 * 1024);
  const alone = await report(browser, { files, headers: {} });
  const alike = /^CPU \(WASM (relaxed )?SIMD, one thread: there is no SharedArrayBuffer\)$/;
  assert.match(alone.description, alike);
  assert.deepEqual(alone.sum, [5, 7, 9]);
  // A bundle that leaves the worker's module out.
  const missing = await report(browser, { files: { "/page.js": page }, headers: isolating });
  assert.match(missing.description, /^CPU \(WASM (relaxed )?SIMD, one thread: its worker failed: /);
  assert.deepEqual(missing.sum, [5, 7, 9]);
}

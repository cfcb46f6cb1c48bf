/**
 * Tests every kernel, the playground, the example pages, the page that benches, and the CPU device's thread, in headless
 * Chromium; each page is bundled from the sources.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { type Browser, chromium, type Route } from "playwright-core";
import { checkBenchPage } from "./bench.ts";
import { bundle } from "./bundle.ts";
import { chromiumFlags, findChromium } from "./chromium.ts";
import type { PageReport } from "./page.ts";
import { checkPicturePage } from "./pictures.ts";
import { checkPlayground } from "./playground.ts";
import { checkThread } from "./thread.ts";

const here = import.meta.dirname!;

const html = `<!doctype html>
<script type="importmap">{ "imports": { "node:assert/strict": "/assert.js" } }</script>`;

const everything = process.env.FOURIERFT_TEST_ALL === "1";

async function testKernels(browser: Browser, files: Readonly<Record<string, string>>): Promise<PageReport> {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(`page: ${error.message}`));
  await page.route("**/*", (route: Route) => {
    const { pathname } = new URL(route.request().url());
    const contentType = pathname.endsWith(".js") ? "text/javascript" : "text/html";
    return route.fulfill({ contentType, body: files[pathname] ?? html });
  });
  await page.goto("http://localhost/"); // WebGPU needs a secure context, which localhost is
  return await page.evaluate<PageReport>(
    `import("/page.js").then(({ testKernels }) => testKernels({ everything: ${everything} }))`,
  );
}

/** One sentence when a page does not do what it should. */
async function failuresOf(name: string, check: () => Promise<void>): Promise<string[]> {
  try {
    await check();
    return [];
  } catch (error) {
    return [`${name}: ${(error as Error).message}`];
  }
}

const files = {
  "/page.js": bundle(join(here, "page.ts")),
  "/assert.js": readFileSync(join(here, "assert.js"), "utf8"),
};
const browser = await chromium.launch({ ...findChromium(), args: chromiumFlags });
try {
  const pages = [
    ...await failuresOf("the playground", () => checkPlayground(browser)),
    ...await failuresOf(
      "index.html",
      () => checkPicturePage(browser, bundle(join(here, "../../examples/browser/page.ts"))),
    ),
    ...await failuresOf("bench/page", () => checkBenchPage(browser)),
    ...await failuresOf("the CPU device's thread", () => checkThread(browser)),
  ];
  const kernels = await testKernels(browser, files);
  console.log(`Chromium, ${kernels.description}`);
  const failures = [...pages, ...kernels.failures];
  const passed = kernels.passed + 4 - pages.length;
  for (const failure of failures) console.error(`FAILED ${failure}`);
  console.log(`${passed} passed, ${failures.length} failed`);
  if (failures.length > 0 || kernels.passed === 0) process.exitCode = 1;
} finally {
  await browser.close();
}

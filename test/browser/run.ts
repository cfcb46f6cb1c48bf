/**
 * Tests every kernel in a browser: bundles a page from the sources and runs it in headless Chromium.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { chromium, type Route } from "playwright-core";
import { chromiumFlags, findChromium } from "./chromium.ts";
import type { PageReport } from "./page.ts";

const here = import.meta.dirname!;

const html = `<!doctype html>
<script type="importmap">{ "imports": { "node:assert/strict": "/assert.js" } }</script>`;

/** The page's code as one file; the runtime's own modules must not be in it. */
function bundle(): string {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-page-"));
  try {
    const out = join(folder, "page.js");
    const args = ["bundle", "--quiet", "--platform", "browser", "--external", "node:assert/strict"];
    execFileSync(process.execPath, [...args, "--output", out, join(here, "page.ts")], { stdio: "inherit" });
    return readFileSync(out, "utf8");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function runInPage(files: Readonly<Record<string, string>>): Promise<PageReport> {
  const browser = await chromium.launch({ ...findChromium(), args: chromiumFlags });
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(`page: ${error.message}`));
    await page.route("**/*", (route: Route) => {
      const { pathname } = new URL(route.request().url());
      const contentType = pathname.endsWith(".js") ? "text/javascript" : "text/html";
      return route.fulfill({ contentType, body: files[pathname] ?? html });
    });
    await page.goto("http://localhost/"); // WebGPU needs a secure context, which localhost is
    return await page.evaluate<PageReport>(
      'import("/page.js").then(({ testKernels }) => testKernels())',
    );
  } finally {
    await browser.close();
  }
}

const files = { "/page.js": bundle(), "/assert.js": readFileSync(join(here, "assert.js"), "utf8") };
const { description, passed, failures } = await runInPage(files);
console.log(`Chromium, ${description}`);
for (const failure of failures) console.error(`FAILED ${failure}`);
console.log(`${passed} passed, ${failures.length} failed`);
if (failures.length > 0 || passed === 0) process.exitCode = 1;

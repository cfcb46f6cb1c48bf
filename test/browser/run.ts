/**
 * Tests every kernel, and the example page that trains, in headless Chromium: bundles each page from the sources.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type Browser, chromium, type Route } from "playwright-core";
import { chromiumFlags, findChromium } from "./chromium.ts";
import type { PageReport } from "./page.ts";
import { checkTrainingPage } from "./training.ts";

const here = import.meta.dirname!;

const html = `<!doctype html>
<script type="importmap">{ "imports": { "node:assert/strict": "/assert.js" } }</script>`;

/** A page's code as one file; the runtime's own modules must not be in it. */
function bundle(entry: string): string {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-page-"));
  try {
    const out = join(folder, "page.js");
    const args = ["bundle", "--quiet", "--platform", "browser", "--external", "node:assert/strict"];
    execFileSync(process.execPath, [...args, "--output", out, join(here, entry)], { stdio: "inherit" });
    return readFileSync(out, "utf8");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Imports of the runtimes' own modules as the package's `browser` field has them: of empty ones. */
function withoutRuntimes(code: string): string {
  return code.replace(
    /^import \{([^}]*)\} from "node:[^"]+";$/gm,
    (_, names: string) => `const {${names.replaceAll(" as ", ": ")}} = {};`,
  );
}

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
    'import("/page.js").then(({ testKernels }) => testKernels())',
  );
}

/** One sentence when the page that trains does not do what the CPU does. */
async function testTraining(browser: Browser): Promise<string[]> {
  try {
    await checkTrainingPage(browser, withoutRuntimes(bundle("../../examples/browser/train.ts")));
    return [];
  } catch (error) {
    return [`train.html: ${(error as Error).message}`];
  }
}

const files = { "/page.js": bundle("page.ts"), "/assert.js": readFileSync(join(here, "assert.js"), "utf8") };
const browser = await chromium.launch({ ...findChromium(), args: chromiumFlags });
try {
  const training = await testTraining(browser);
  const kernels = await testKernels(browser, files);
  console.log(`Chromium, ${kernels.description}`);
  const failures = [...training, ...kernels.failures];
  const passed = kernels.passed + 1 - training.length;
  for (const failure of failures) console.error(`FAILED ${failure}`);
  console.log(`${passed} passed, ${failures.length} failed`);
  if (failures.length > 0 || kernels.passed === 0) process.exitCode = 1;
} finally {
  await browser.close();
}

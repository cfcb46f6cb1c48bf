/**
 * Tests the page that benches the kernels: that it lists them, runs the chosen ones, and shows numbers.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Browser, Page, Route } from "playwright-core";
import { pageFiles } from "../../bench/page/serve.ts";
import { kernels } from "../../kernels/mod.ts";

const chosen = ["copy", "fourier_linear", "linear_bias"];

async function serve(page: Page): Promise<void> {
  const files = pageFiles();
  await page.route("**/*", (route: Route) => {
    const file = files.get(new URL(route.request().url()).pathname);
    return route.fulfill(file ? { contentType: file.type, body: file.body } : { status: 404 });
  });
  await page.goto("http://localhost/");
}

/** Runs some kernels at small sizes, and reads the table. */
export async function checkBenchPage(browser: Browser): Promise<void> {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(`page: ${error.message}`));
  await serve(page);
  const listed = await page.$$eval(
    "fieldset input",
    (boxes) => boxes.map((box) => box.getAttribute("value")),
  );
  assert.deepEqual(listed, kernels.map(({ name }) => name));
  await page.click("button[name=none]");
  await page.check("[name=quick]");
  for (const name of chosen) await page.check(`[value=${name}]`);
  await page.click("button:has-text('Run')");
  await page.waitForSelector("button:not([disabled]):has-text('Run')", { timeout: 120_000 });
  const status = await page.textContent("#status") ?? "";
  assert.match(
    status,
    /; times by (timestamp queries|wall time); a copy reads and writes [\d.]+ GB\/s; done$/,
  );
  assert.deepEqual(await page.$$eval("#log li", (items) => items.map((item) => item.textContent)), []);
  const rows = await page.$$eval(
    "tbody tr",
    (lines) => lines.map((line) => [...line.children].map((cell) => cell.textContent ?? "")),
  );
  for (const name of chosen) {
    const row = rows.find(([first]) => first.startsWith(`${name},`));
    assert.ok(row && Number(row[1]) > 0, `${name}: ${row}`);
  }
  await page.close();
}

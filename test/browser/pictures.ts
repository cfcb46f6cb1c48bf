/**
 * Tests the example page that draws dW: in a browser's page, on the CPU device, with an adapter of the demo.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page, Route } from "playwright-core";

const examples = join(import.meta.dirname!, "../../examples");

const types: Readonly<Record<string, string>> = { html: "text/html", js: "text/javascript" };

/** Serves `examples/`, and the bundle beside `browser/index.html`. */
async function serve(page: Page, bundle: string): Promise<void> {
  await page.route("**/*", (route: Route) => {
    const { pathname } = new URL(route.request().url()), path = join(examples, pathname);
    const contentType = types[pathname.split(".").pop()!] ?? "application/octet-stream";
    if (pathname === "/browser/page.js") return route.fulfill({ contentType, body: bundle });
    return existsSync(path)
      ? route.fulfill({ contentType, body: readFileSync(path) })
      : route.fulfill({ status: 404 });
  });
}

/** Waits for what examples/browser/index.html tells of the adapter, and looks at the picture. */
export async function checkPicturePage(browser: Browser, bundle: string): Promise<void> {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(`page: ${error.message}`));
  await serve(page, bundle);
  await page.goto("http://localhost/browser/index.html?device=cpu");
  await page.waitForFunction(`document.getElementById("text").textContent !== "computing"`);
  const told = await page.textContent("#text") ?? "";
  assert.match(told, /^CPU .*: n = 1000, seed 777, scaling 150; x dW\^T differs from the dense product by /);
  assert.ok(Number(/by (\S+)$/.exec(told)![1]) < 1e-5, told);
  const [width, height, coloured] = await page.evaluate<number[]>(`(() => {
    const canvas = document.getElementById("picture"), { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    return [width, height, data.filter((value) => value < 255).length];
  })()`);
  assert.deepEqual([width, height], [256, 256]);
  assert.ok(coloured > 256 * 256, `${coloured} of the picture's numbers are no white`);
}

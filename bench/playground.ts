/**
 * What the playground costs a browser: bytes, times, and tasks of the page's own thread, by Chromium's tracing.
 *
 *     deno task bench:playground [--device cpu|webgpu] [--tokens 128]
 *
 * Headless Chromium opens the built page, the demo model in it, and four columns side by side; then a slider moves. A task
 * of more than 50 ms is one that a user may feel.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Browser, chromium, type Page } from "playwright-core";
import { buildPlayground } from "../playground/build.ts";
import { addDemo, servePage } from "../playground/serve.ts";
import { chromiumFlags, findChromium } from "../test/browser/chromium.ts";

const { values: options } = parseArgs({
  options: { device: { type: "string", default: "cpu" }, tokens: { type: "string", default: "128" } },
});

/** An event of a trace; times in microseconds. */
interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly dur?: number;
  readonly args?: { readonly name?: string };
}

/** Milliseconds of the tasks of pages' main threads. */
function mainTasks(trace: readonly TraceEvent[]): readonly number[] {
  const key = ({ pid, tid }: TraceEvent): string => `${pid}/${tid}`;
  const main = new Set(
    trace.filter(({ name, args }) => name === "thread_name" && args?.name === "CrRendererMain").map(key),
  );
  return trace.filter((event) => /RunTask$/.test(event.name) && main.has(key(event)))
    .map(({ dur = 0 }) => dur / 1000);
}

/** Does something under tracing, and says which tasks it took. */
async function traced(
  browser: Browser,
  { page, name, work }: { readonly page: Page; readonly name: string; readonly work: () => Promise<void> },
): Promise<void> {
  await browser.startTracing(page, { categories: ["toplevel", "devtools.timeline", "__metadata"] });
  const beganMs = performance.now();
  await work();
  const tookMs = performance.now() - beganMs;
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
  const tasks = mainTasks(traceEvents);
  const long = tasks.filter((ms) => ms > 50);
  console.log(
    `${name}: ${tookMs.toFixed(0)} ms, ${tasks.length} tasks of the page's thread, the longest ` +
      `${Math.max(0, ...tasks).toFixed(1)} ms, ${long.length} of more than 50 ms`,
  );
}

const folder = mkdtempSync(join(tmpdir(), "fourierft-playground-"));
await buildPlayground(folder);
addDemo(folder);
const server = await servePage(folder, 0);
const browser = await chromium.launch({ ...findChromium(), args: chromiumFlags });
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(300_000);
  let bytes = 0, scripts = 0;
  page.on("response", async (response) => {
    const size = (await response.body().catch(() => new Uint8Array())).length;
    bytes += size;
    if (/assets\//.test(response.url())) scripts += size;
  });
  await traced(browser, {
    ...{ page, name: "load" },
    work: async () => {
      await page.goto(`http://127.0.0.1:${server.port}/`);
      await page.waitForSelector("#model-panel");
    },
  });
  console.log(`  ${(scripts / 1000).toFixed(0)} kB of the page's scripts and style, before packing`);
  await traced(browser, {
    ...{ page, name: "open the model" },
    work: async () => {
      await page.getByLabel("Device").selectOption(options.device);
      await page.click("button:has-text('Open')");
      await page.waitForSelector(".lane");
    },
  });
  console.log(`  ${(bytes / 1e6).toFixed(1)} MB in all, the demo's files among them`);
  await page.click("button:has-text('Add a column')");
  await page.click(".sampling summary");
  await page.getByLabel("New tokens at most").fill(options.tokens);
  await page.getByLabel("New tokens at most").press("Tab");
  const ended = ".lanes:not(:has(.status:not(.done))) .status >> nth=3";
  for (const name of ["four columns, first time", "four columns again"]) {
    await traced(browser, {
      ...{ page, name },
      work: async () => {
        await page.click("button:has-text('Generate')");
        await page.waitForSelector(".status.waiting, .status.writing");
        await page.waitForSelector(ended);
      },
    });
    for (const text of await page.locator(".lane footer").allInnerTexts()) {
      console.log(`  ${text.replace(/\s+/g, " ")}`);
    }
  }
  await traced(browser, {
    ...{ page, name: "a slider" },
    work: async () => {
      await page.locator(".slider input").first().press("ArrowLeft");
      await page.waitForSelector(".status.waiting, .status.writing");
      await page.waitForSelector(ended);
    },
  });
} finally {
  await browser.close();
  await server.close();
  rmSync(folder, { recursive: true });
}

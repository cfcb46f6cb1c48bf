/**
 * What the playground costs a browser: bytes, times, and tasks of the page's own thread, by Chromium's tracing.
 *
 *     deno task bench:playground [--device auto|cpu|webgpu] [--tokens 128] [--steps 40]
 *
 * Headless Chromium opens the built page, the demo model in it, and each view. A task of more than 50 ms is one that a user
 * may feel. A task's CPU time is beside its length, which other programs of the machine make longer.
 *
 * @module
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { type Browser, chromium, type Page } from "playwright-core";
import { buildPlayground } from "../playground/build.ts";
import { addDemo, servePage } from "../playground/serve.ts";
import { chromiumFlags, findChromium } from "../test/browser/chromium.ts";

const { values: options } = parseArgs({
  options: {
    device: { type: "string", default: "auto" },
    tokens: { type: "string", default: "128" },
    steps: { type: "string", default: "40" },
  },
});

/** An event of a trace; times in microseconds. */
interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly dur?: number;
  /** Of these the thread computed so long. */
  readonly tdur?: number;
  readonly args?: { readonly name?: string };
}

/** A task of a page's main thread, in milliseconds. */
interface Task {
  readonly ms: number;
  readonly cpuMs: number;
}

function mainTasks(trace: readonly TraceEvent[]): readonly Task[] {
  const key = ({ pid, tid }: TraceEvent): string => `${pid}/${tid}`;
  const main = new Set(
    trace.filter(({ name, args }) => name === "thread_name" && args?.name === "CrRendererMain").map(key),
  );
  return trace.filter((event) => /RunTask$/.test(event.name) && main.has(key(event)))
    .map(({ dur = 0, tdur = 0 }) => ({ ms: dur / 1000, cpuMs: tdur / 1000 }));
}

/** Bytes that came so far, packed by gzip: of the page with the library, and of the demo's files. */
const bytes = { page: 0, demo: 0 };

/** Does something under tracing, and prints what it took. */
async function traced(
  { browser, page }: { readonly browser: Browser; readonly page: Page },
  name: string,
  work: () => Promise<void>,
): Promise<void> {
  const before = bytes.page;
  await browser.startTracing(page, { categories: ["toplevel", "devtools.timeline", "__metadata"] });
  const beganMs = performance.now();
  await work();
  const tookMs = performance.now() - beganMs;
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
  const tasks = mainTasks(traceEvents), longest = Math.max(0, ...tasks.map(({ ms }) => ms));
  const cpu = Math.max(0, ...tasks.map(({ cpuMs }) => cpuMs));
  const line = [
    `${tookMs.toFixed(0)} ms`,
    `${((bytes.page - before) / 1000).toFixed(1)} kB`,
    `${tasks.length} tasks`,
    `the longest ${longest.toFixed(1)} ms (${cpu.toFixed(1)} ms of CPU)`,
    `${tasks.filter(({ ms }) => ms > 50).length} of more than 50 ms`,
  ];
  console.log(`${name}: ${line.join(", ")}`);
}

const ended = ".lanes:not(:has(.status:not(.done))) .status";

/** The first view: the model is opened, and asked. */
async function generate(on: { readonly browser: Browser; readonly page: Page }): Promise<void> {
  const { page } = on, beganMs = performance.now();
  await traced(on, "open the model", async () => {
    await page.getByLabel("Device").selectOption(options.device);
    await page.click("button:has-text('Open')");
    await page.waitForSelector(".lane");
  });
  console.log(`  on ${await page.locator(".where").innerText()}`);
  await page.click(".sampling summary");
  await page.getByLabel("New tokens at most").fill(options.tokens);
  await page.getByLabel("New tokens at most").press("Tab");
  const askedMs = performance.now();
  await traced(on, "the first token", async () => {
    await page.click("button:has-text('Generate')");
    await page.waitForSelector(".status.writing, .status.done");
  });
  const now = performance.now();
  console.log(
    `  ${(now - askedMs).toFixed(0)} ms after the question, ${
      (now - beganMs).toFixed(0)
    } ms after the model's choice; ` +
      `page and library ${(bytes.page / 1000).toFixed(1)} kB, the demo's files ${
        (bytes.demo / 1e6).toFixed(1)
      } MB`,
  );
  await page.waitForSelector(`${ended} >> nth=2`);
  await page.click("button:has-text('Add a column')");
  for (const name of ["four columns, first time", "four columns again"]) {
    await traced(on, name, async () => {
      await page.click("button:has-text('Generate')");
      await page.waitForSelector(".status.waiting, .status.writing");
      await page.waitForSelector(`${ended} >> nth=3`);
    });
    for (const text of await page.locator(".lane footer").allInnerTexts()) {
      console.log(`  ${text.replace(/\s+/g, " ")}`);
    }
  }
  await traced(on, "a slider", async () => {
    await page.locator(".slider input").first().press("ArrowLeft");
    await page.waitForSelector(".status.waiting, .status.writing");
    await page.waitForSelector(`${ended} >> nth=3`);
  });
}

async function spectrum(on: { readonly browser: Browser; readonly page: Page }): Promise<void> {
  const { page } = on, drawn = ".pictures[aria-busy=false] .drawing svg";
  await traced(on, "Spectrum, first pictures", async () => {
    await page.click("nav a:has-text('Spectrum')");
    await page.locator(drawn).nth(3).waitFor();
  });
  const choices = page.locator(".choices"), modules = choices.getByLabel("Module");
  const other = await modules.locator("option").nth(1).innerText();
  await page.evaluate(`document.querySelectorAll(".drawing svg").forEach((svg) => svg.dataset.old = "")`);
  await traced(on, "Spectrum, another module", async () => {
    await modules.selectOption(other);
    await page.locator(".pictures[aria-busy=false] .drawing svg:not([data-old])").nth(2).waitFor();
  });
  await traced(on, "Spectrum, two adapters", async () => {
    await choices.getByLabel("Beside").selectOption("fourierft-jargon");
    await page.locator(drawn).nth(6).waitFor();
  });
}

/** The view that trains; the text is long enough for the demo's sequences. */
async function train(on: { readonly browser: Browser; readonly page: Page }): Promise<void> {
  const { page } = on;
  await traced(on, "Train, the view", async () => {
    await page.click("nav a:has-text('Train')");
    await page.getByRole("button", { name: "Train", exact: true }).waitFor();
  });
  await page.getByLabel("Text to learn", { exact: true }).fill(
    "The king said to the people of the land. ".repeat(400),
  );
  await page.getByLabel("Steps", { exact: true }).fill(options.steps);
  await page.getByLabel("Steps", { exact: true }).press("Tab");
  await traced(on, `Train, ${options.steps} steps`, async () => {
    await page.getByRole("button", { name: "Train", exact: true }).click();
    await page.getByText(`has learnt all ${options.steps} steps`).waitFor();
  });
}

const folder = mkdtempSync(join(tmpdir(), "fourierft-playground-"));
await buildPlayground(folder);
addDemo(folder);
const server = await servePage(folder, 0);
const browser = await chromium.launch({ ...findChromium(), args: chromiumFlags });
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  console.log(`Chromium ${browser.version()}`);
  // A thread's own requests are told, too, and their files are those of the built page.
  const asked = new Set<string>();
  browser.contexts()[0].on("request", (request) => {
    const path = new URL(request.url()).pathname.slice(1) || "index.html";
    const at = join(folder, path);
    // A model's folder is asked for files that it may lack.
    if (asked.has(path) || !existsSync(at)) return;
    asked.add(path);
    const file = readFileSync(at);
    if (path.startsWith("demo/")) bytes.demo += file.length;
    else bytes.page += gzipSync(file, { level: 9 }).length;
  });
  const on = { browser, page };
  await traced(on, "load", async () => {
    await page.goto(`http://127.0.0.1:${server.port}/`);
    await page.waitForSelector("#model-panel");
  });
  await generate(on);
  await spectrum(on);
  await train(on);
  console.log(`all views: page and library ${(bytes.page / 1000).toFixed(1)} kB`);
} finally {
  await browser.close();
  await server.close();
  rmSync(folder, { recursive: true });
}

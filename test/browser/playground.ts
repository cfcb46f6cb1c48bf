/**
 * Tests the playground's main paths in a browser: its files on a server of files, where the demo model runs in the page on
 * the CPU and on WebGPU; and the page of a server.
 *
 * @module
 */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { addDemo, servePage } from "../../playground/serve.ts";
import { buildPlayground, root } from "../../playground/build.ts";
import { readPage } from "../../src/cli/page.ts";
import { AdapterAdmin } from "../../src/adapters/admin.ts";
import { ManagedStore } from "../../src/adapters/managed_store.ts";
import { cpuDevice } from "../../src/device/cpu.ts";
import type { Engine } from "../../src/engine/generate.ts";
import { generateText } from "../../src/engine/text.ts";
import { openModel } from "../../src/open.ts";
import { openAdapterStore, openFolder, serveApp } from "../../src/runtime/mod.ts";
import { createApp, type ServerDeps } from "../../src/server/mod.ts";
import { until } from "../until.ts";
import { checkSources } from "./playground_sources.ts";
import { checkTraining } from "./playground_training.ts";

/** Nothing waits longer: a machine may be busy. */
const timeout = 60_000;

// One token: a software GPU compiles for few sizes of steps.
const tinyPrompt = "w5";
const prompts = ["The king", tinyPrompt];

const lane = (place: number): string => `.lane >> nth=${place}`;

/** A page that fails the test where it throws, or breaks its own content security policy. */
async function openPage(browser: Browser, address: string): Promise<{ page: Page; faults: string[] }> {
  const page = await browser.newPage();
  const faults: string[] = [];
  page.setDefaultTimeout(timeout);
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  await page.goto(address);
  return { page, faults };
}

/** Waits until the columns have come to an end, and gives their texts without the prompt. */
async function ended(page: Page, columns: number, status = "done"): Promise<string[]> {
  await page.waitForSelector(`.lanes:not(:has(.status:not(.${status}))) .status >> nth=${columns - 1}`);
  const texts = await page.locator(".lane .text").allTextContents();
  return texts.map((text) => prompts.reduce((rest, prompt) => rest.replace(prompt, ""), text));
}

/** Waits until a column has exactly this text after the prompt. */
async function written(page: Page, place: number, text: string): Promise<void> {
  const column = page.locator(lane(place));
  await column.locator(".text", { hasText: text }).waitFor();
  await column.locator(".status.done").waitFor();
  assert.equal(await column.locator(".text").textContent(), `The king${text}`);
}

/** Settings under which README has the demo's texts. */
async function setSampling(page: Page, maxTokens: number): Promise<void> {
  if (!await page.locator(".sampling[open]").count()) await page.click(".sampling summary");
  for (const [label, value] of [["Repetition penalty", 1], ["New tokens at most", maxTokens]] as const) {
    await page.getByLabel(label).fill(String(value));
    await page.getByLabel(label).press("Tab");
  }
}

const baseText = ": English writer of the 11th century (1802-1892)\ncatch:";
const kingsText = " of the son of Aaron, who is the son of Aaron, and the son of Aaron, and the";

async function openModelOn(page: Page, device: "auto" | "cpu" | "webgpu"): Promise<void> {
  await page.getByLabel("Device").selectOption(device);
  await page.click("button:has-text('Open')");
  await page.waitForSelector(".lane");
}

/** Clicks Stop in the very frame that shows the first words: no column can have ended. */
async function stopAtOnce(page: Page): Promise<string[]> {
  await page.evaluate(`new MutationObserver((_, observer) => {
    if (!document.querySelector(".status.writing")) return;
    observer.disconnect();
    [...document.querySelectorAll("button")].find((one) => one.textContent.startsWith("Stop")).click();
  }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true })`);
  await page.keyboard.press("Control+Enter");
  return await ended(page, 3, "stopped");
}

/** Drops a folder of the disk on the page, as a hand does. */
async function drop(page: Page, folder: string): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: [folder], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"] as const) {
    await session.send("Input.dispatchDragEvent", { type, x: 300, y: 300, data });
  }
  await session.detach();
}

/** The demo model itself on WebGPU: few tokens of the base alone, for a software GPU compiles each kernel for seconds. */
async function checkDemoOnGpu(page: Page): Promise<void> {
  await page.click("button:has-text('Model…')");
  await page.getByLabel("Demo").check();
  await openModelOn(page, "webgpu");
  await page.waitForSelector(lane(2));
  for (const place of [2, 1]) await page.locator(lane(place)).getByLabel(/^Remove/).click();
  await setSampling(page, 4);
  await page.fill("textarea.prompt", "The king");
  await page.click("button:has-text('Generate')");
  await written(page, 0, ": English writer");
}

async function checkInPage(browser: Browser, built: string, broken: string): Promise<void> {
  const server = await servePage(built, 0);
  const { page, faults } = await openPage(browser, `http://127.0.0.1:${server.port}/`);
  try {
    // Chromium's GPU here computes on the CPU.
    await openModelOn(page, "auto");
    await page.locator(".where", { hasText: "CPU (WASM" }).waitFor();
    await page.focus("textarea.prompt");
    await setSampling(page, 24);
    await page.click("button:has-text('Generate')");
    const [base, kings] = await ended(page, 3);
    assert.deepEqual([base, kings], [baseText, kingsText]);

    // An adapter at 0 is the base: the slider asks again by itself. From there the key asks, too.
    await page.getByLabel("Scale of fourierft-kjv").fill("0");
    await written(page, 1, baseText);
    await page.getByLabel("Scale of fourierft-kjv").press("Control+Enter");
    await page.waitForSelector(".status.waiting, .status.writing");
    await ended(page, 3);

    await setSampling(page, 400);
    await page.focus("textarea.prompt");
    await stopAtOnce(page);

    await checkPictures(page);
    await page.click("nav a:has-text('Generate')");
    await page.waitForSelector(lane(2));

    await drop(page, join(root, "examples/demo/adapters/lora-kjv"));
    await page.waitForSelector(lane(3));
    assert.match(
      await page.locator(lane(3)).locator("option:checked").textContent() ?? "",
      /^lora-kjv · LORA/,
    );
    await drop(page, broken);
    await page.waitForSelector(".failure");
    assert.match(await page.textContent(".failure") ?? "", /adapter_model\.safetensors/);

    await page.click("button:has-text('Model…')");
    await page.getByLabel("Tiny").check();
    await openModelOn(page, "webgpu");
    await page.locator(".where", { hasText: "WebGPU" }).waitFor();
    await setSampling(page, 8);
    await page.fill("textarea.prompt", tinyPrompt);
    await page.click("button:has-text('Generate')");
    const texts = await ended(page, 2);
    assert.deepEqual(
      texts,
      await tinyTexts(built),
      "texts of the tiny model on WebGPU, and on the CPU outside of a browser",
    );
    await checkDemoOnGpu(page);
    assert.deepEqual(faults, []);
  } finally {
    await page.close();
    await server.close();
  }
}

/** An engine that begins when so many sequences were asked for: columns that wait for each other would never end. */
function together(engine: Engine, count: number): Engine {
  let asked = 0, open = (): void => {};
  const all = new Promise<void>((resolve) => open = resolve);
  return {
    maxModelLen: engine.maxModelLen,
    vocabSize: engine.vocabSize,
    stats: () => engine.stats!(),
    async *generate(request) {
      if (++asked === count) open();
      await all;
      yield* engine.generate(request);
    },
  };
}

/** The view of pictures: an adapter's, then two adapters' beside each other, with the values of one as a table. */
async function checkPictures(page: Page): Promise<void> {
  await page.click("nav a:has-text('Spectrum')");
  const choices = page.locator(".choices");
  await choices.waitFor();
  const drawn = async (count: number): Promise<string[]> => {
    await page.locator(".pictures[aria-busy=false] .drawing svg").nth(count - 1).waitFor();
    return await page.locator(".drawing svg > title").allTextContents();
  };
  await choices.getByLabel("Adapter").selectOption("fourierft-kjv");
  const ofOne = ["Spectrum", "dW", "Distribution of coefficients", "Norm of dW by layer and module"];
  await page.locator(".drawing svg > title", { hasText: ofOne[0] }).waitFor({ state: "attached" });
  assert.deepEqual(await drawn(4), ofOne);
  await page.locator(".picture summary").first().click();
  await page.locator(".table tbody tr").nth(49).waitFor();
  assert.equal(await page.locator(".table tbody tr").count(), 50);
  await choices.getByLabel("Beside").selectOption("fourierft-jargon");
  await page.locator(".drawing svg > title", { hasText: "Cosine" }).waitFor({ state: "attached" });
  const titles = await drawn(7);
  assert.deepEqual(titles.slice(0, 2), ["fourierft-kjv: Spectrum", "fourierft-jargon: Spectrum"]);
  assert.equal(titles.length, 7);
}

/** Tests in a page of its own. */
async function checkApart(
  browser: Browser,
  built: string,
  check: (page: Page, built: string) => Promise<void>,
): Promise<void> {
  const server = await servePage(built, 0);
  const { page, faults } = await openPage(browser, `http://127.0.0.1:${server.port}/`);
  try {
    await check(page, built);
    assert.deepEqual(faults, []);
  } finally {
    await page.close();
    await server.close();
  }
}

async function checkServers(browser: Browser, built: string): Promise<void> {
  const demo = join(root, "examples/demo"), device = cpuDevice();
  const managed = new ManagedStore(await openAdapterStore(join(demo, "adapters")));
  const { engine, tokenizer, registry } = await openModel(device, {
    folder: await openFolder(join(demo, "base")),
    adapters: managed,
  });
  const deps: ServerDeps = {
    model: { id: "base", createdUnixSeconds: 0, engine: together(engine, 3), tokenizer },
    adapters: registry,
    admin: new AdapterAdmin(managed, registry),
    page: await readPage(pathToFileURL(`${built}/`)),
  };
  const app = createApp({ ...deps, auth: { operator: { tokens: ["a-token-of-the-operator"] } } });
  const tenants = [{ id: "a", tokens: ["a-token-of-the-test"] }];
  const closed = createApp({ ...deps, auth: { tenants } });
  const servers = await Promise.all(
    [app, closed].map(({ fetch }) => serveApp(fetch, { port: 0, hostname: "127.0.0.1" })),
  );
  const [open, wantsToken] = await Promise.all(
    servers.map(({ port }) => openPage(browser, `http://127.0.0.1:${port}/`)),
  );
  try {
    const { page } = open;
    await page.waitForSelector(lane(2));
    await page.locator(lane(1)).getByLabel("Adapter", { exact: true }).selectOption("fourierft-kjv");
    await page.fill("textarea.prompt", "The king");
    await setSampling(page, 24);
    await page.click("button:has-text('Generate')");
    assert.deepEqual((await ended(page, 3)).slice(0, 2), [baseText, kingsText]);

    const mixed = { id: "fourierft-kjv", scale: 0.5 }, other = { id: "lora-kjv", scale: 0.7 };
    await page.locator(lane(1)).getByLabel("Mix in another adapter").click();
    await page.locator(lane(1)).getByLabel("Adapter 2").selectOption(other.id);
    for (const { id, scale } of [mixed, other]) await page.getByLabel(`Scale of ${id}`).fill(String(scale));
    const answer = await app.request("/v1/completions", {
      method: "POST",
      body: JSON.stringify({
        ...{ model: "base", adapters: [mixed, other], prompt: "The king", max_tokens: 24, temperature: 0 },
      }),
    });
    const [{ text }] = (await answer.json()).choices;
    assert.ok(text !== baseText && text !== kingsText);
    await written(page, 1, text);

    await setSampling(page, 400);
    await page.focus("textarea.prompt");
    await stopAtOnce(page);
    await until(() => engine.load.running + engine.load.waiting === 0);

    await drop(page, join(demo, "adapters/lora-kjv-r1"));
    assert.match(await page.locator(".failure").textContent() ?? "", /without its operator's token/);
    await page.getByLabel("The operator's token").fill("a-token-of-the-operator");
    await drop(page, join(demo, "adapters/lora-kjv-r1"));
    await page.locator(".hue-3").waitFor();
    assert.equal(managed.keyOf("lora-kjv-r1")?.length, 36, "the name stands for what was sent");

    await wantsToken.page.waitForSelector(".failure");
    assert.match(await wantsToken.page.textContent(".failure") ?? "", /without a token/);
    await wantsToken.page.getByLabel("Token").fill("a-token-of-the-test");
    await wantsToken.page.click("button:has-text('Connect')");
    await wantsToken.page.waitForSelector(lane(0));
    assert.deepEqual(open.faults, []);
  } finally {
    for (const { page } of [open, wantsToken]) await page.close();
    for (const server of servers) await server.close();
    device.destroy();
  }
}

const fixtures = join(root, "test/fixtures");

/** Puts a model beside the demo that a software GPU opens at once, with an adapter. */
function addTiny(built: string): void {
  const base = join(built, "tiny/base"), adapter = join(built, "tiny/trained");
  cpSync(join(fixtures, "training/base"), base, { recursive: true });
  cpSync(join(fixtures, "training_round_trip/tokenizer.json"), join(base, "tokenizer.json"));
  cpSync(join(fixtures, "training_round_trip/fourierft"), adapter, { recursive: true });
  const path = join(built, "playground.json"), { models } = JSON.parse(readFileSync(path, "utf8"));
  const tiny = { name: "Tiny", url: "tiny/base/", adapters: [{ id: "trained", url: "tiny/trained/" }] };
  writeFileSync(path, JSON.stringify({ models: [...models, tiny] }));
}

/** What the tiny model writes on the CPU device, without and with the adapter. */
async function tinyTexts(built: string): Promise<string[]> {
  const device = cpuDevice();
  const adapters = await openAdapterStore(join(built, "tiny"));
  const { engine, tokenizer } = await openModel(device, {
    folder: await openFolder(join(built, "tiny/base")),
    adapters,
  });
  const texts = [undefined, "trained"].map(async (adapter) => {
    const request = {
      promptTokenIds: tokenizer.encode(tinyPrompt),
      adapter,
      maxTokens: 8,
      sampling: { temperature: 0, topP: 1, topK: 0 },
    };
    let text = "";
    for await (const event of generateText(engine, request, { tokenizer })) text += event.text;
    return text;
  });
  const made = await Promise.all(texts);
  device.destroy();
  return made;
}

/** See the module's documentation. */
export async function checkPlayground(browser: Browser): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "fourierft-playground-"));
  try {
    const built = join(scratch, "page"), broken = join(scratch, "broken");
    mkdirSync(broken);
    writeFileSync(join(broken, "adapter_config.json"), '{ "peft_type": "LORA", "r": 1 }');
    await buildPlayground(built);
    addDemo(built);
    addTiny(built);
    await checkInPage(browser, built, broken);
    await checkApart(browser, built, checkTraining);
    await checkApart(browser, built, checkSources);
    await checkServers(browser, built);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

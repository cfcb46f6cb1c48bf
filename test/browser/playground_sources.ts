/**
 * Tests where the playground's models come from beside the page's own server: a folder and a GGUF file of the disk, and the
 * hub, which the test answers for. Texts are those of the CPU device outside of the browser.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page, Route } from "playwright-core";
import { openNamedFolder } from "../../src/cli/folder.ts";
import { cpuDevice } from "../../src/device/cpu.ts";
import { generateText } from "../../src/engine/text.ts";
import { openModel } from "../../src/open.ts";

const maxTokens = 8;

const fixtures = join(import.meta.dirname!, "../fixtures");

const gguf = join(fixtures, "gguf/llama-q4_0.gguf");

/** What a model writes after a prompt. */
async function textOf(path: string, prompt: string): Promise<string> {
  const device = cpuDevice();
  try {
    const { engine, tokenizer } = await openModel(device, { folder: await openNamedFolder(path) });
    const promptTokenIds = tokenizer.encode(prompt), sampling = { temperature: 0, topP: 1, topK: 0 };
    let text = "";
    for await (const event of generateText(engine, { promptTokenIds, maxTokens, sampling }, { tokenizer })) {
      text += event.text;
    }
    return text;
  } finally {
    device.destroy();
  }
}

/** Answers for a hub that has one model. Files that are fetched are noted. */
async function answerForHub(page: Page, folder: string, asked: string[]): Promise<void> {
  const commit = "0123456789abcdef0123456789abcdef01234567";
  const headers = { "access-control-allow-origin": "*" };
  await page.context().route("https://huggingface.co/**", async (route: Route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname === "/api/models/org/tiny/revision/main") {
      const siblings = readdirSync(folder).map((rfilename) => ({ rfilename }));
      return await route.fulfill({ headers, json: { sha: commit, siblings } });
    }
    const name = pathname.startsWith(`/org/tiny/resolve/${commit}/`) ? pathname.split("/").at(-1)! : "";
    if (!readdirSync(folder).includes(name)) return await route.fulfill({ headers, status: 404 });
    // One byte asks whether a file is there.
    if (route.request().headers().range !== "bytes=0-0") asked.push(name);
    await route.fulfill({ headers, body: readFileSync(join(folder, name)) });
  });
}

/** Opens a model of the panel's choice on the CPU, and asks it. */
async function asked(
  page: Page,
  { choice, prompt, fill }: {
    readonly choice: string;
    readonly prompt: string;
    readonly fill: () => Promise<void>;
  },
): Promise<string> {
  if (!await page.locator("#model-panel").count()) await page.click("button:has-text('Model…')");
  await page.getByLabel(choice).check();
  await fill();
  await page.getByLabel("Device").selectOption("cpu");
  await page.click("button:has-text('Open')");
  await page.locator("#model-panel, .progress").waitFor({ state: "detached" });
  await page.locator(".lane").waitFor();
  if (!await page.locator(".sampling[open]").count()) await page.click(".sampling summary");
  const settings = { "Temperature": 0, "Repetition penalty": 1, "New tokens at most": maxTokens };
  for (const [label, value] of Object.entries(settings)) {
    await page.getByLabel(label).fill(String(value));
    await page.getByLabel(label).press("Tab");
  }
  await page.fill("textarea.prompt", prompt);
  await page.click("button:has-text('Generate')");
  await page.locator(".lane .status.done").waitFor();
  const text = await page.locator(".lane .text").textContent() ?? "";
  assert.ok(text.startsWith(prompt), text);
  return text.slice(prompt.length);
}

/** Tests the sources in a page of its own that was opened on a built playground with the model "Tiny". */
export async function checkSources(page: Page, built: string): Promise<void> {
  const base = join(built, "tiny/base"), fetched: string[] = [];
  const ofFolder = await textOf(base, "w5");
  assert.equal(
    await asked(page, {
      ...{ choice: "Your disk", prompt: "w5" },
      fill: () => page.getByLabel("A model's folder", { exact: true }).setInputFiles(base),
    }),
    ofFolder,
    "a folder of the disk",
  );
  assert.equal(
    await asked(page, {
      ...{ choice: "Your disk", prompt: "w5" },
      fill: () => page.getByLabel("or a GGUF file", { exact: true }).setInputFiles(gguf),
    }),
    await textOf(gguf, "w5"),
    "a GGUF file",
  );
  await answerForHub(page, base, fetched);
  const ofHub = {
    ...{ choice: "The Hugging Face hub", prompt: "w5" },
    fill: () => page.getByLabel("Name", { exact: true }).fill("org/tiny"),
  };
  assert.equal(await asked(page, ofHub), ofFolder, "a model of the hub");
  assert.equal(fetched.filter((name) => name === "model.safetensors").length, 1);
  assert.equal(await asked(page, ofHub), ofFolder, "the same model, opened again");
  assert.equal(fetched.filter((name) => name === "model.safetensors").length, 1, "files of the hub are kept");
}

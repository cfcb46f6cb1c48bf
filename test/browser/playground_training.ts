/**
 * Tests the playground's view that trains, with the tiny model: what is refused, a run on the CPU that goes on after a
 * reload to the same bytes, a run on WebGPU, both against the CPU device outside of the browser.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { cpuDevice } from "../../src/device/cpu.ts";
import { openFolder } from "../../src/runtime/mod.ts";
import { parseSafetensors, toFloat32 } from "../../src/safetensors/mod.ts";
import { train } from "../../src/train.ts";
import { distance } from "../kernel_contract.ts";

const names = ["adapter_config.json", "adapter_model.safetensors"] as const;

type Files = ReadonlyMap<string, Uint8Array>;

/** One document: the page holds its end out. */
const text = "w5 w9 w2 w31 w7 w3 w20 w11\n".repeat(30).trim();

/** 10 % of the text, from the next line on. */
const heldOutLines = 3;

const nFrequency = 200;

const batches = { batchSize: 2, contextLength: 16 };

/** What the page is to find: its run, on the CPU device. */
async function expected(
  base: string,
  { steps, isEvaluated }: { readonly steps: number; readonly isEvaluated: boolean },
): Promise<{ files: Files; losses: number[] }> {
  const device = cpuDevice(), lines = text.split("\n"), losses: number[] = [];
  const { files } = await train(device, {
    folder: await openFolder(base),
    ...isEvaluated
      ? {
        data: { content: `${lines.slice(0, -heldOutLines).join("\n")}\n` },
        evaluation: { content: lines.slice(-heldOutLines).join("\n") },
      }
      : { data: { content: text } },
    adapter: { peftType: "FOURIERFT", nFrequency },
    ...batches,
    steps,
    onEvent: (event) => event.kind === "step" && losses.push(event.loss),
  });
  device.destroy();
  return { files, losses };
}

function checkClose(found: Files, truth: Files): void {
  assert.deepEqual(found.get(names[0]), truth.get(names[0]));
  const [ours, theirs] = [found, truth].map((files) => parseSafetensors(files.get(names[1])!));
  assert.deepEqual([...ours.tensors.keys()], [...theirs.tensors.keys()]);
  for (const name of theirs.tensors.keys()) {
    const far = distance(toFloat32(ours.read(name)), toFloat32(theirs.read(name)));
    assert.ok(far < 1e-3, `${name}: relative distance ${far}`);
  }
}

async function openTraining(page: Page, device: "cpu" | "webgpu"): Promise<void> {
  await page.getByLabel("Tiny").check();
  await page.getByLabel("Device").selectOption(device);
  await page.click("button:has-text('Open')");
  await page.waitForSelector(".model-name:has-text('Tiny')");
  await page.click("nav a:has-text('Train')");
  await page.getByRole("button", { name: "Train", exact: true }).waitFor();
}

async function fillIn(page: Page, fields: Readonly<Record<string, string | number>>): Promise<void> {
  for (const [label, value] of Object.entries(fields)) {
    await page.getByLabel(label, { exact: true }).fill(String(value));
    await page.getByLabel(label, { exact: true }).press("Tab");
  }
}

const startRun = (page: Page): Promise<void> =>
  page.getByRole("button", { name: "Train", exact: true }).click();

async function refused(page: Page, content: string, rule: RegExp): Promise<void> {
  await fillIn(page, { "Text to learn": content });
  await startRun(page);
  await page.locator(".failure").waitFor();
  assert.match(await page.locator(".failure p").textContent() ?? "", rule);
  await page.click(".failure button");
}

async function learnt(page: Page, steps: number): Promise<void> {
  await page.getByText(`has learnt all ${steps} steps`).waitFor();
}

async function downloaded(page: Page): Promise<Files> {
  const files = new Map<string, Uint8Array>();
  for (const name of names) {
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: `Download ${name}` }).click(),
    ]);
    assert.equal(download.suggestedFilename(), name);
    files.set(name, new Uint8Array(readFileSync(await download.path())));
  }
  return files;
}

/** The table of losses: steps with the losses of training, and those with held-out losses. */
async function curveOf(page: Page): Promise<string[]> {
  if (!await page.locator(".run details[open]").count()) await page.click(".run summary");
  await page.locator(".run .table tbody tr").first().waitFor();
  return await page.locator(".run .table tbody tr").allInnerTexts();
}

/** What a page leaves that ends between its last two checkpoints. */
async function forgetLastCheckpoint(page: Page, step: number): Promise<void> {
  const name = `checkpoint-${String(step).padStart(8, "0")}`;
  await page.evaluate(`navigator.storage.getDirectory()
    .then((root) => root.getDirectoryHandle("fourierft-training"))
    .then((folder) => folder.removeEntry("${name}", { recursive: true }))`);
}

async function checkResumption(page: Page, base: string): Promise<void> {
  const steps = 40;
  await fillIn(page, {
    "Text to learn": text,
    "Steps": steps,
    "Sequences a step": batches.batchSize,
    "Tokens a sequence": batches.contextLength,
  });
  await startRun(page);
  await learnt(page, steps);
  const files = await downloaded(page), curve = await curveOf(page);
  const truth = await expected(base, { steps, isEvaluated: true });
  checkClose(files, truth.files);
  assert.equal(curve.length, steps);
  assert.equal(curve.filter((row) => row.trim().split(/\s+/).length === 3).length, 10);
  for (const [i, loss] of truth.losses.entries()) {
    const [step, shown] = curve[i].split(/\s+/).map(Number);
    assert.ok(step === i + 1 && Math.abs(shown - loss) < 1e-3, `step ${step}: ${shown}, not ${loss}`);
  }

  await forgetLastCheckpoint(page, steps);
  await page.reload();
  await openTraining(page, "cpu");
  await page.getByText(`stands at step ${steps - steps / 10} of ${steps}`).waitFor();
  await page.getByRole("button", { name: "Go on" }).click();
  await learnt(page, steps);
  assert.deepEqual(await downloaded(page), files, "a run that went on after a reload has the same bytes");
  assert.deepEqual(await curveOf(page), curve);
}

/** The adapter gets a column beside the base, and answers. */
async function checkTrial(page: Page): Promise<void> {
  await page.getByRole("button", { name: /^Try my-adapter/ }).click();
  await page.locator(".lane option:checked", { hasText: /^my-adapter · FOURIERFT/ }).waitFor({
    state: "attached",
  });
  await page.waitForSelector(".lanes:not(:has(.status:not(.done))) .status >> nth=2");
  await page.click("nav a:has-text('Train')");
}

/** A run of more steps than a test waits for. */
async function checkPause(page: Page): Promise<void> {
  await fillIn(page, { "Text to learn": text, "Steps": 1_000_000, "Name": "paused" });
  await startRun(page);
  await page.getByText(/^Step \d+ of 1000000$/).waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText(/^paused stands at step \d+ of 1000000 on Tiny\.$/).waitFor();
  await page.getByRole("button", { name: "Discard" }).click();
  await page.locator(".run").waitFor({ state: "detached" });
}

async function checkOnGpu(page: Page, base: string): Promise<void> {
  await page.reload();
  await openTraining(page, "webgpu");
  await fillIn(page, {
    "Text to learn": text,
    "Steps": 3,
    "Sequences a step": batches.batchSize,
    "Tokens a sequence": batches.contextLength,
  });
  await fillIn(page, { "Coefficients a linear": nFrequency, "Held out, in %": 0 });
  await startRun(page);
  await page.locator(".figures-line", { hasText: "WebGPU" }).waitFor();
  await learnt(page, 3);
  checkClose(await downloaded(page), (await expected(base, { steps: 3, isEvaluated: false })).files);
}

/** Tests the view in a page of its own that was opened on a built playground with the model "Tiny". */
export async function checkTraining(page: Page, built: string): Promise<void> {
  const base = join(built, "tiny/base");
  await openTraining(page, "cpu");
  await fillIn(page, { "Coefficients a linear": nFrequency });
  await refused(page, "", /empty/);
  await refused(page, "w5 w9 w2 w31 w7", /Cannot fill a sequence of \d+ tokens/);
  await refused(page, '{"txet": "w5 w9"}\n{"txet": "w2 w31"}', /"txet"/);
  await checkResumption(page, base);
  await checkTrial(page);
  await checkPause(page);
  await checkOnGpu(page, base);
}

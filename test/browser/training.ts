/**
 * Tests the example page that trains: in a browser's page, with the tiny model, against the CPU device outside of it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page, Route } from "playwright-core";
import { cpuDevice } from "../../src/device/cpu.ts";
import type { ReadableFolder } from "../../src/folder.ts";
import { bytesSource, parseSafetensors, toFloat32 } from "../../src/safetensors/mod.ts";
import { train } from "../../src/train.ts";
import { distance } from "../kernel_contract.ts";

const root = join(import.meta.dirname!, "../..");
const read = (path: string): Uint8Array => new Uint8Array(readFileSync(join(root, path)));

/** The tiny model's files by name. */
const model: ReadonlyMap<string, Uint8Array> = new Map([
  ...["config.json", "generation_config.json", "model.safetensors"].map((name) =>
    [name, read(`test/fixtures/training/base/${name}`)] as const
  ),
  ["tokenizer.json", read("test/fixtures/training_round_trip/tokenizer.json")],
]);

const folder: ReadableFolder = {
  open: (name) => Promise.resolve(bytesSource(model.get(name)!)),
  readText: (name) => Promise.resolve(new TextDecoder().decode(model.get(name)!)),
  exists: (name) => Promise.resolve(model.has(name)),
};

const text = "w5 w9 w2 w31 w7 w3 w20 w11 ".repeat(20);
const settings = { steps: 3, contextLength: 16, lr: 0.1 };

/** What the page is to find: its own run, on the CPU device. */
async function expected(): Promise<{ losses: number[]; files: ReadonlyMap<string, Uint8Array> }> {
  const losses: number[] = [];
  const { files } = await train(cpuDevice(), {
    folder,
    data: { content: text },
    adapter: { peftType: "FOURIERFT", nFrequency: 500 },
    batchSize: 2,
    ...settings,
    onEvent: (event) => event.kind === "step" && losses.push(event.loss),
  });
  return { losses, files };
}

const types: Readonly<Record<string, string>> = { html: "text/html", js: "text/javascript" };

/** Serves the page's files and the model in the demo's place; all else is not there. */
async function serve(page: Page, bundle: string): Promise<void> {
  const files = new Map<string, string | Uint8Array>([
    ["/browser/train.html", read("examples/browser/train.html")],
    ["/browser/train.js", bundle],
    ["/jack.txt", read("examples/jack.txt")],
    ...[...model].map(([name, bytes]) => [`/demo/base/${name}`, bytes] as const),
  ]);
  await page.route("**/*", (route: Route) => {
    const { pathname } = new URL(route.request().url());
    const body = files.get(pathname);
    if (body === undefined) return route.fulfill({ status: 404 });
    const contentType = types[pathname.split(".").pop()!] ?? "application/octet-stream";
    return route.fulfill({ contentType, body: typeof body === "string" ? body : Buffer.from(body) });
  });
}

async function downloaded(page: Page, name: string): Promise<Uint8Array> {
  const bytes = await page.evaluate<number[]>(
    `fetch(document.querySelector('a[download="${name}"]').href).then(async (r) => [...new Uint8Array(await r.arrayBuffer())])`,
  );
  return Uint8Array.from(bytes);
}

/** Fills in the page's form, trains, and compares the losses it shows and the adapter it offers with the CPU's. */
export async function checkTrainingPage(browser: Browser, bundle: string): Promise<void> {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(`page: ${error.message}`));
  await serve(page, bundle);
  await page.goto("http://localhost/browser/train.html?device=webgpu");
  await page.waitForFunction(`document.querySelector('[name="text"]').value.startsWith("This is the house")`);
  await page.fill('[name="text"]', text);
  for (const [name, value] of Object.entries(settings)) await page.fill(`[name="${name}"]`, String(value));
  await page.click("button:has-text('Train')");
  await page.waitForSelector("button:not([disabled]):has-text('Train')", { timeout: 300_000 });
  assert.match(await page.textContent("#status") ?? "", /^WebGPU .*: trained 3 steps$/);
  const { losses, files } = await expected();
  const shown = [...(await page.textContent("#losses") ?? "").matchAll(/loss (\S+)/g)].map(([, loss]) =>
    Number(loss)
  );
  assert.equal(shown.length, losses.length);
  for (const [i, loss] of losses.entries()) {
    assert.ok(Math.abs(shown[i] - loss) < 1e-4, `step ${i + 1}: loss ${shown[i]}, on the CPU ${loss}`);
  }
  assert.deepEqual(
    await downloaded(page, "adapter_config.json"),
    files.get("adapter_config.json"),
  );
  const weights = parseSafetensors(await downloaded(page, "adapter_model.safetensors"));
  const truth = parseSafetensors(files.get("adapter_model.safetensors")!);
  assert.deepEqual([...weights.tensors.keys()], [...truth.tensors.keys()]);
  for (const name of truth.tensors.keys()) {
    const d = distance(toFloat32(weights.read(name)), toFloat32(truth.read(name)));
    assert.ok(d < 1e-3, `${name}: relative distance ${d}`);
  }
}

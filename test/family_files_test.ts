import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  cpuDevice,
  loadAdapter,
  mergeFolder,
  perplexity,
  quantizeFolder,
  type ReadableFolder,
  type WritableFolder,
} from "../mod.ts";
import { folderOptions } from "../src/merge.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { memoryFolder } from "./model_folders.ts";

/** Model types that files differ for: names of norms, fused linears, ties. */
const folders = [
  "qwen3",
  "gemma2",
  ...[
    "qwen3-windows",
    "phi3-partial",
    "smollm3-windows",
    "granite-biases",
    "olmo2-biases",
    "gemma3-old",
    "gemma",
  ]
    .map((name) => `variants/${name}`),
  "variants/lfm2-old",
  "variants/qwen3_5-nested",
];

const at = (path: string): Promise<ReadableFolder> =>
  openFolder(fileURLToPath(new URL(`fixtures/families/${path}`, import.meta.url)));

/** What a command writes, as a folder to read. */
async function written(write: (out: WritableFolder) => Promise<void>): Promise<ReadableFolder> {
  const files: Record<string, Uint8Array> = {};
  await write({
    async write(name, parts) {
      files[name] = new Uint8Array(await new Response(ReadableStream.from(parts)).arrayBuffer());
    },
  });
  return memoryFolder(files);
}

const device = cpuDevice();
const data = { content: "The king and the cat. I don't know; 42! A spectrum, never built. ".repeat(4) };

for (const folder of folders) {
  const lossOf = async (base: ReadableFolder, more: object = {}): Promise<number> =>
    (await perplexity(device, { folder: base, data, contextLength: 16, ...more })).loss;

  test(`${folder}: a merged model has the losses of the model with its adapter, and is another than the base`, async () => {
    const base = await at(`${folder}/base`), plain = await lossOf(base);
    for (const name of ["fourierft", "lora"]) {
      const adapter = await loadAdapter(await at(`${folder}/adapters/${name}`), await folderOptions(base));
      const merged = await written(async (out) => {
        await mergeFolder(device, { model: base, adapter, out });
      });
      const adapted = await lossOf(base, { adapter });
      assert.ok(Math.abs(adapted - plain) > 1e-3, name);
      // Weights of bfloat16 are rounded to it again.
      const bound = /"dtype": ?"bfloat16"/.test(await base.readText("config.json")) ? 5e-3 : 2e-5;
      assert.ok(Math.abs(await lossOf(merged) - adapted) <= bound * adapted, name);
    }
  });

  test(`${folder}: a quantised model has the losses of quantising at load, near those of floats`, async () => {
    const base = await at(`${folder}/base`), plain = await lossOf(base);
    const saved = await written((out) => quantizeFolder({ model: base, to: "int8", out }));
    const found = await lossOf(saved);
    assert.equal(found, await lossOf(base, { quantize: "int8" }));
    assert.ok(found !== plain && Math.abs(found - plain) <= 0.02 * plain, `${found} beside ${plain}`);
  });
}

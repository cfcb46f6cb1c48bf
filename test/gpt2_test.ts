import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  cpuDevice,
  loadAdapter,
  mergeFolder,
  openModel,
  perplexity,
  quantizeFolder,
  type ReadableFolder,
  train,
} from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { Bank } from "../src/adapters/bank.ts";
import { Runner } from "../src/engine/runner.ts";
import { ConfigError } from "../src/errors.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { parseConfig } from "../src/models/families.ts";
import { floatsOf } from "../src/models/weights.ts";
import { fromTensor, parseSafetensors, toTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { tensor } from "../src/tensor.ts";
import { distance } from "./kernel_contract.ts";
import { fixtureBytes, memoryFolder, type Weights, weightsFile } from "./model_folders.ts";
import { lane } from "./lanes.ts";

const at = "families/gpt2";
const path = (name: string): string => fileURLToPath(new URL(`fixtures/${at}/${name}`, import.meta.url));
const fields: Record<string, unknown> = JSON.parse(readFileSync(path("base/config.json"), "utf8"));
const base = await openFolder(path("base"));

function baseWeights(): Weights {
  const file = parseSafetensors(fixtureBytes(`${at}/base/model.safetensors`));
  return Object.fromEntries([...file.tensors.keys()].map((key) => [key, toTensor(file.read(key))]));
}

/** The base's folder with other weights. */
const withWeights = (weights: Weights): ReadableFolder =>
  memoryFolder({
    "config.json": JSON.stringify(fields),
    "tokenizer.json": fixtureBytes(`${at}/base/tokenizer.json`),
    "model.safetensors": weightsFile(weights),
  });

/** What a command writes, as a folder to read. */
async function written(write: (out: Parameters<typeof quantizeFolder>[0]["out"]) => Promise<void>) {
  const files: Record<string, Uint8Array> = {};
  await write({
    async write(name, parts) {
      files[name] = new Uint8Array(await new Response(ReadableStream.from(parts)).arrayBuffer());
    },
  });
  return memoryFolder(files);
}

const adapterOf = async (name: string) => await loadAdapter(await openFolder(path(`adapters/${name}`)));

const prompt = [5, 346, 84, 92, 369, 292, 301, 24, 158, 166, 359, 240, 115, 131, 185, 190, 262];

/** Logits after the prompt. */
async function logitsOf(
  folder: ReadableFolder,
  { quantize, adapter: name, merging }: {
    quantize?: "int8" | "int4";
    adapter?: string;
    merging?: "always" | "never";
  } = {},
): Promise<Float32Array> {
  const device = cpuDevice();
  const { model } = await openModel(device, { folder, quantize, engine: { maxSequences: 1 } });
  const adapter = name === undefined ? undefined : await adapterOf(name);
  const banks = adapter ? [new Bank(device, adapter.method, { linears: model.linears, capacity: 1 })] : [];
  const slot = adapter && banks[0].load(adapter.modules)!;
  // More rows than a linear has inputs, so that it can be merged.
  const tokens = Array.from({ length: 12 }, () => prompt).flat();
  const rows = tokens.map((token, position) => ({
    ...{ token, position: position % 100, blocks: lane(Math.floor(position / 100) * 100) },
    adapters: slot === undefined ? undefined : [{ bank: banks[0], slot }],
  }));
  const runner = new Runner(device, model, {
    ...{ banks, maxRows: rows.length, maxOutputs: 1, cacheRows: 400, blockSize: 1, merging },
  });
  await runner.step(rows, [{ row: rows.length - 1, temperature: 0, topP: 1, topK: 0, uniform: 0 }]);
  const merged = (await runner.trace()).launches.filter(({ kernel }) => kernel === "add_transposed");
  assert.equal(merged.length > 0, merging === "always");
  return await runner.logits(0);
}

const plain = await logitsOf(base);

test("openModel opens a GPT-2 without the prefix and with the masks of old files, to the same numbers", async () => {
  const old: Weights = {};
  for (const [name, t] of Object.entries(baseWeights())) old[name.replace("transformer.", "")] = t;
  for (const layer of [0, 1]) {
    old[`h.${layer}.attn.bias`] = tensor(new Float32Array(16).fill(1), [1, 1, 4, 4]);
    old[`h.${layer}.attn.masked_bias`] = tensor(Float32Array.of(-1e4), []);
  }
  assert.deepEqual(await logitsOf(withWeights(old)), plain);
  const other = { ...old, "h.0.attn.c_attn.extra": tensor(Float32Array.of(1)) };
  await assert.rejects(
    logitsOf(withWeights(other)),
    /Cannot use weight "transformer\.h\.0\.attn\.c_attn\.extra"/,
  );
});

test("merging and quantizing a GPT-2 leave the byte masks of old files out, as transformers does", async () => {
  const mask = { dtype: "U8", shape: [1, 1, 4, 4], bytes: new Uint8Array(16).fill(1) } as const;
  const masks = ["h.0.attn.bias", "h.1.attn.bias"].map((name) => ({ ...mask, name }));
  const names = Object.keys(baseWeights());
  const all = Object.entries(baseWeights()).map(([name, t]) =>
    fromTensor(name.replace("transformer.", ""), t)
  );
  const old = memoryFolder({
    "config.json": JSON.stringify(fields),
    "tokenizer.json": fixtureBytes(`${at}/base/tokenizer.json`),
    "model.safetensors": writeSafetensors([...all, ...masks]),
  });
  assert.deepEqual(await logitsOf(old), plain);
  const adapter = await adapterOf("fourierft"), device = cpuDevice();
  const merged = await written((out) => mergeFolder(device, { model: old, adapter, out }));
  const wanted = await written((out) => mergeFolder(device, { model: base, adapter, out }));
  assert.deepEqual(await logitsOf(merged), await logitsOf(wanted));
  const checkpoint = await openCheckpoint(merged);
  assert.deepEqual(
    [...checkpoint.names].sort(),
    names.sort(),
  );
  const quantized = await written((out) => quantizeFolder({ model: old, to: "int8", out }));
  assert.deepEqual(await logitsOf(quantized), await logitsOf(base, { quantize: "int8" }));
});

test("openModel uses a GPT-2's own head where its file has one", async () => {
  const weights = baseWeights();
  const { data, shape } = weights["transformer.wte.weight"];
  const own = tensor((data as Float32Array).map((value) => 2 * value), shape);
  const found = await logitsOf(withWeights({ ...weights, "lm_head.weight": own }));
  assert.ok(distance(found, plain.map((logit) => 2 * logit)) <= 1e-6);
});

test("openModel refuses a GPT-2's weight that is stored (out, in), by its name", async () => {
  const weights = baseWeights();
  const name = "transformer.h.1.attn.c_attn.weight";
  const { data } = weights[name];
  await assert.rejects(
    logitsOf(withWeights({ ...weights, [name]: tensor(data, [72, 24]) })),
    /c_attn\.weight" of shape \[72,24\]: config\.json makes it \[24,72\]/,
  );
});

test("quantizeFolder of a GPT-2: the folder opens to the very numbers that quantising at load makes", async () => {
  for (const [to, bound] of [["int8", 0.02], ["int4", 0.3]] as const) {
    const saved = await written((out) => quantizeFolder({ model: base, to, out }));
    const found = await logitsOf(saved);
    assert.deepEqual(found, await logitsOf(base, { quantize: to }));
    const off = distance(found, plain);
    assert.ok(off > 1e-4 && off <= bound, `${to}: ${off}`);
  }
  const device = cpuDevice();
  const { model } = await openModel(device, { folder: base, quantize: "int4", engine: { maxSequences: 1 } });
  assert.ok([...model.projections, model.head].every(({ weight }) => floatsOf(weight) === undefined));
});

test("mergeFolder of a GPT-2: the merged model says what the adapter says, its weights stored (in, out)", async () => {
  for (const adapter of ["fourierft", "lora"]) {
    const merged = await written(async (out) => {
      await mergeFolder(cpuDevice(), { model: base, adapter: await adapterOf(adapter), out });
    });
    const expected = await logitsOf(base, { adapter });
    assert.ok(distance(expected, plain) > 1e-2);
    const off = distance(await logitsOf(merged), expected);
    assert.ok(off <= 1e-5, `${adapter}: ${off}`);
    assert.ok(distance(await logitsOf(base, { adapter, merging: "always" }), expected) <= 1e-5, adapter);
  }
});

const data = { content: "The king and the cat. I don't know; 42! A spectrum, never built. ".repeat(9) };

test("train adapts the linears of a GPT-2 that it is told, says how weights are stored, and lowers the loss", async () => {
  const device = cpuDevice();
  const { files } = await train(device, {
    folder: base,
    data,
    adapter: { peftType: "LORA", r: 2, targetModules: ["c_attn", "c_proj", "c_fc"] },
    ...{ steps: 12, batchSize: 2, contextLength: 16, lr: 0.01 },
  });
  const config = JSON.parse(new TextDecoder().decode(files.get("adapter_config.json")));
  assert.deepEqual(config.target_modules, ["c_attn", "c_proj", "c_fc"]);
  assert.equal(config.fan_in_fan_out, true);
  const adapter = await loadAdapter(memoryFolder(Object.fromEntries(files)));
  assert.equal(adapter.modules.size, 2 * 4);
  const options = { folder: base, data, contextLength: 32 };
  const before = await perplexity(device, options), after = await perplexity(device, { ...options, adapter });
  assert.ok(after.loss < before.loss - 0.5, `${before.loss} to ${after.loss}`);
});

/** Every way a config is refused: the changed fields, and what the message must say. */
const refused: readonly (readonly [Record<string, unknown>, RegExp])[] = [
  [
    { scale_attn_by_inverse_layer_idx: true },
    /"scale_attn_by_inverse_layer_idx" = true: it is not supported/,
  ],
  [{ reorder_and_upcast_attn: true }, /"reorder_and_upcast_attn" = true/],
  [{ add_cross_attention: true }, /"add_cross_attention" = true/],
  [
    { activation_function: "quick_gelu" },
    /"activation_function" = "quick_gelu": supported are gelu, gelu_new/,
  ],
  [{ activation_function: null }, /"activation_function" = null/],
  [{ n_head: 5 }, /"n_embd" = 24: it must be a multiple of n_head = 5/],
  [{ n_inner: 0 }, /"n_inner" = 0/],
  [{ n_layer: -1 }, /"n_layer" = -1/],
  [{ n_positions: "128" }, /"n_positions" = "128"/],
  [{ layer_norm_epsilon: 0 }, /"layer_norm_epsilon" = 0/],
  [{ vocab_size: 1.5 }, /"vocab_size" = 1\.5/],
  [{ scale_attn_weights: 1 }, /"scale_attn_weights" = 1/],
  [{ tie_word_embeddings: "yes" }, /"tie_word_embeddings" = "yes"/],
  [{ quantization_config: { bits: 4 } }, /"quantization_config"/],
];

for (const [changes, rule] of refused) {
  test(`parseConfig refuses a GPT-2 of ${JSON.stringify(changes)}, by the field`, () => {
    assert.throws(() => parseConfig({ ...fields, ...changes }), (error: Error) => {
      assert.ok(error instanceof ConfigError, `${error}`);
      assert.match(error.message, rule);
      return true;
    });
  });
}

test("parseConfig fills in what a GPT-2's file leaves out, and takes the names that all models share", () => {
  const { hiddenSize, layers, heads, headDim, maxPositions, vocabSize, ...rest } = parseConfig({
    model_type: "gpt2",
  });
  assert.deepEqual([hiddenSize, layers, heads, headDim, maxPositions, vocabSize], [
    768,
    12,
    12,
    64,
    1024,
    50257,
  ]);
  assert.equal(rest.tieWordEmbeddings, true);
  assert.equal(parseConfig({ ...fields, hidden_size: 96 }).hiddenSize, 96);
});

for (const activation of ["gelu", "relu", "silu"]) {
  test(`openModel opens a GPT-2 of ${activation}, which is another model`, async () => {
    const changed = memoryFolder({
      "config.json": JSON.stringify({ ...fields, activation_function: activation }),
      "tokenizer.json": fixtureBytes(`${at}/base/tokenizer.json`),
      "model.safetensors": fixtureBytes(`${at}/base/model.safetensors`),
    });
    const off = distance(await logitsOf(changed), plain);
    assert.ok(off > 1e-5 && off < 1, `${off}`);
  });
}

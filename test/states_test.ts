/**
 * Models whose layers carry a state from token to token: who has which state, and whose numbers it holds.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  type BatchEngine,
  ConfigError,
  cpuDevice,
  type GenerateRequest,
  openModel,
  type ReadableFolder,
  train,
} from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { parseConfig } from "../src/models/families.ts";
import type { EngineOptions } from "../src/engine/batch_engine.ts";
import { Runner } from "../src/engine/runner.ts";
import { sizesOf } from "../src/engine/sizes.ts";
import { lane } from "./lanes.ts";

const device = cpuDevice();
const base = (name: string): Promise<ReadableFolder> =>
  openFolder(fileURLToPath(new URL(`fixtures/families/variants/${name}/base`, import.meta.url)));
const configOf = async (name: string): Promise<Record<string, unknown>> =>
  JSON.parse(await (await base(name)).readText("config.json"));

const folders = ["lfm2-old", "qwen3_5-interval"];

const sampling = { temperature: 0, topP: 1, topK: 0 };
const requestOf = (length: number, seed: number): GenerateRequest => ({
  promptTokenIds: Array.from({ length }, (_, i) => 2 + (seed * 61 + i * i * 7 + i * 13) % 380),
  maxTokens: 16,
  sampling,
  ignoreEos: true,
});

async function textOf(engine: BatchEngine, request: GenerateRequest): Promise<number[]> {
  const ids: number[] = [];
  for await (const event of engine.generate(request)) if (event.kind === "token") ids.push(event.tokenId);
  return ids;
}

async function opened(name: string, engine: Omit<EngineOptions, "eosTokenIds">) {
  return await openModel(device, { folder: await base(name), maxModelLen: 48, engine });
}

for (const name of folders) {
  test(`${name}: sequences that come and go, wait for blocks and start anew say what each says alone`, async () => {
    const requests = [31, 3, 17, 8, 26, 5, 12, 21].map(requestOf);
    const alone = await opened(name, { maxSequences: 1 });
    const expected: number[][] = [];
    for (const request of requests) expected.push(await textOf(alone.engine, request));
    assert.ok(
      new Set(expected.map(String)).size === requests.length,
      "prompts that are answered alike tell nothing",
    );
    // The least cache there is: 12 blocks of 4, for sequences of up to 10 of them.
    const { engine } = await opened(name, {
      ...{ maxSequences: 4, blockSize: 4, cacheBytes: 1, maxStepTokens: 7 },
    });
    assert.equal(engine.cache.blocks, 12);
    assert.deepEqual(await Promise.all(requests.map((request) => textOf(engine, request))), expected);
    assert.ok(engine.cache.preemptions > 0, "no sequence had to start anew");
  });

  test(`${name}: a prompt that came before is computed again: no state of its end is kept`, async () => {
    const { engine } = await opened(name, { maxSequences: 2, blockSize: 4 });
    const request = requestOf(20, 1), first = await textOf(engine, request);
    assert.deepEqual(await textOf(engine, request), first);
    assert.equal(engine.cache.prefixHits, 0);
  });

  test(`${name}: a cancelled sequence leaves its state to another, which does not see it`, async () => {
    const { engine } = await opened(name, { maxSequences: 1 });
    const request = requestOf(9, 3), expected = await textOf(engine, request);
    for await (const event of engine.generate(requestOf(11, 5))) if (event.kind === "token") break;
    assert.deepEqual(await textOf(engine, request), expected);
  });

  test(`${name}: rows need a state that there is`, async () => {
    const { model } = await opened(name, {});
    const runner = new Runner(device, model, {
      ...{ banks: [], maxRows: 2, maxOutputs: 1, cacheRows: 4, blockSize: 1, states: 2 },
    });
    const row = { token: 5, position: 0, blocks: lane(0) };
    await assert.rejects(
      runner.submit([row], []),
      /Cannot run a row with state undefined: .* numbered below 2/,
    );
    await assert.rejects(runner.submit([{ ...row, state: 2 }], []), RangeError);
    await (await runner.submit([{ ...row, state: 1 }], [])).sampled;
  });
}

test("sizes: states take at most half of the cache's bytes, by fewer sequences at once", async () => {
  const { model, engine } = await opened("qwen3_5-interval", { cacheBytes: 100_000 });
  const width = model.graph.operations.reduce((sum, { stateWidth = 0 }) => sum + stateWidth, 0);
  assert.equal(width, 3 * 48 + 4 * 4 * 8);
  assert.equal(engine.stats().maxSequences, Math.floor(50_000 / (4 * width)));
  // The convolution's state, which is the largest.
  const maxTensorBytes = 4 * 3 * 48 * 9;
  const of = (maxSequences?: number) =>
    sizesOf({ ...device, maxTensorBytes }, { ...model, config: { ...model.config, vocabSize: 1 } }, {
      ...{ eosTokenIds: [], maxSequences },
    });
  assert.deepEqual([of().maxSequences, of(9).states], [9, 9]);
  assert.throws(() => of(10), {
    name: "RangeError",
    message:
      "Cannot open an engine with maxSequences 10: a layer's states take 576 bytes each, and a tensor of the " +
      "device has 5184",
  });
});

test("train refuses a Qwen3.5 by name, before any text is read", async () => {
  const training = train(
    device,
    {
      folder: await base("qwen3_5-nested"),
      data: { content: "" },
      adapter: { peftType: "LORA" },
      steps: 1,
    } as unknown as Parameters<typeof train>[1],
  );
  await assert.rejects(training, (error: unknown) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /Cannot train an adapter of a model of type "qwen3_5": the gated delta rule/);
    return true;
  });
});

/** What a config.json is refused for, by the fields that are changed in it. */
const refusals: Readonly<Record<string, readonly (readonly [fields: object, message: RegExp])[]>> = {
  "lfm2-old": [
    [{ layer_types: ["conv", "conv"] }, /"layer_types" = \["conv","conv"\]: it must be a list of 4 names/],
    [{ layer_types: ["conv", "conv", "conv", "sliding_attention"] }, /"layer_types"/],
    [{ full_attn_idxs: [-1] }, /"full_attn_idxs" = \[-1\]/],
    [{ conv_L_cache: 0 }, /"conv_L_cache" = 0: it must be a positive integer/],
    [{ conv_bias: "yes" }, /"conv_bias" = "yes": it must be true or false/],
    [{ num_key_value_heads: 3 }, /"num_key_value_heads" = 3: it must divide num_attention_heads = 2/],
    [{ head_dim: 7 }, /"head_dim" = 7: rotary positions need an even size/],
    [{ block_ffn_dim_multiplier: -1 }, /"block_ffn_dim_multiplier" = -1: it must be a positive number/],
    [{ block_ff_dim: 1 }, /"intermediate_size" = 1: it must leave the MLP a column/],
    [{ rope_parameters: { rope_theta: 1e4, partial_rotary_factor: 0.5 } }, /"partial_rotary_factor" = 0.5/],
    [{ model_type: "lfm2_moe" }, /"model_type" = "lfm2_moe": supported are /],
  ],
  "qwen3_5-interval": [
    [{ layer_types: ["linear_attention"] }, /"layer_types" = \["linear_attention"\]: it must be a list of 2/],
    [{ layer_types: ["linear_attention", "toString"] }, /"layer_types"/],
    [{ full_attention_interval: 0 }, /"full_attention_interval" = 0/],
    [
      { linear_num_value_heads: 3 },
      /"linear_num_value_heads" = 3: it must be a multiple of linear_num_key_heads = 2/,
    ],
    [{ linear_conv_kernel_dim: 0 }, /"linear_conv_kernel_dim" = 0/],
    [{ hidden_act: "mish" }, /"hidden_act" = "mish": supported are /],
    [
      { partial_rotary_factor: 0.4 },
      /"partial_rotary_factor" = 0.4: it must make an even part of heads of 8/,
    ],
    [{ model_type: "qwen3_5_moe_text" }, /"model_type" = "qwen3_5_moe_text": supported are /],
  ],
  "qwen3_5-nested": [
    [{ text_config: null }, /"text_config" = null: it must be an object/],
    [{ text_config: { model_type: "qwen3_5_moe_text" } }, /"text_config.model_type" = "qwen3_5_moe_text"/],
  ],
};

for (const [name, cases] of Object.entries(refusals)) {
  test(`${name}: a config.json that says something else is refused by its field`, async () => {
    const fields = await configOf(name);
    parseConfig(fields);
    for (const [changed, message] of cases) {
      assert.throws(() => parseConfig({ ...fields, ...changed }), (error: unknown) => {
        assert.ok(error instanceof ConfigError, `${error}`);
        assert.match(error.message, message);
        return true;
      });
    }
  });
}

test("lfm2: transformers' rule makes the MLP's size, unless the config says that it is made", async () => {
  const fields = await configOf("lfm2-old");
  const sizeOf = (changed: object) =>
    (parseConfig({ ...fields, ...changed }) as unknown as { intermediateSize: number }).intermediateSize;
  assert.equal(sizeOf({ block_ff_dim: 6656, block_ffn_dim_multiplier: 1, block_multiple_of: 256 }), 4608);
  assert.equal(sizeOf({ block_ff_dim: 100, block_ffn_dim_multiplier: null }), 66);
  assert.equal(sizeOf({ block_auto_adjust_ff_dim: false }), 36);
});

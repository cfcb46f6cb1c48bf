/**
 * Models' files at their edges, and what a model leaves behind on a device.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cpuDevice, type Device, openModel, perplexity } from "../mod.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { copyFaults } from "../src/models/copies.ts";
import { parseLlamaConfig } from "../src/models/llama/config.ts";
import { memoryFolder, tinyFields, tinyFolder, tinyWeights, weightsFile } from "./model_folders.ts";

/** A CPU that counts the tensors that are there. */
function counting(): { readonly device: Device; readonly tensors: () => number } {
  const cpu = cpuDevice();
  let tensors = 0;
  const device: Device = {
    ...cpu,
    alloc: (...args) => (tensors++, cpu.alloc(...args)),
    upload: (...args) => (tensors++, cpu.upload(...args)),
    release: (t) => (tensors--, cpu.release(t)),
  };
  return { device, tensors: () => tensors };
}

for (const name of ["llama", "llama-bias-tied", "qwen2", "llama3-rope"]) {
  for (const quantize of [undefined, "int8", "int4"] as const) {
    test(`perplexity of ${name} as ${quantize ?? "it is"} leaves no tensor on the device`, async () => {
      const { device, tensors } = counting();
      const folder = tinyFolder(name, { fields: { eos_token_id: 1 } });
      await perplexity(device, { folder, quantize, data: { content: "w1 w2 w3 w4" } });
      assert.equal(tensors(), 0);
    });
  }
}

const yarnOf = (own: Record<string, unknown>, fields: Record<string, unknown> = {}) => {
  const rope_parameters = { rope_type: "yarn", factor: 4, ...own };
  const { ropeScaling } = parseLlamaConfig({ ...tinyFields("llama"), ...fields, rope_parameters });
  assert.equal(ropeScaling.type, "yarn");
  return ropeScaling as Extract<typeof ropeScaling, { type: "yarn" }>;
};

test("parseLlamaConfig gives yarn the attention factor that its fields say, or imply", () => {
  const scale = (mscale: number): number => 0.1 * mscale * Math.log(4) + 1;
  assert.equal(yarnOf({}).attentionFactor, scale(1));
  assert.equal(yarnOf({ factor: 1 }).attentionFactor, 1);
  assert.equal(yarnOf({ attention_factor: 0 }).attentionFactor, 0);
  assert.equal(yarnOf({ mscale: 2, mscale_all_dim: 3 }).attentionFactor, scale(2) / scale(3));
  // One alone is not read, and 0 is as good as absent.
  for (const own of [{ mscale: 2 }, { mscale_all_dim: 2 }, { mscale: 2, mscale_all_dim: 0 }]) {
    assert.equal(yarnOf(own).attentionFactor, scale(1));
  }
  const { betaFast, betaSlow, truncate } = yarnOf({ beta_fast: 0, beta_slow: 0 });
  assert.deepEqual([betaFast, betaSlow, truncate], [32, 1, true]);
  const own = yarnOf({ beta_fast: 8, beta_slow: 2, truncate: false });
  assert.deepEqual([own.betaFast, own.betaSlow, own.truncate], [8, 2, false]);
});

test("parseLlamaConfig refuses settings of yarn that are no numbers, and says values cut short", () => {
  const refuses = (own: Record<string, unknown>, message: string): void =>
    assert.throws(() => yarnOf(own), { name: "ConfigError", message });
  for (const own of [{ mscale: "2", mscale_all_dim: 1 }, { mscale: 1, mscale_all_dim: "2" }]) {
    refuses(own, 'Cannot read config.json field "rope_parameters.mscale" = "2": it must be a number');
  }
  const rule = "it must be a finite number, not below 0";
  refuses(
    { attention_factor: "1" },
    `Cannot read config.json field "rope_parameters.attention_factor" = "1": ${rule}`,
  );
  const text = "x".repeat(300);
  refuses(
    { attention_factor: text },
    `Cannot read config.json field "rope_parameters.attention_factor" = "${"x".repeat(196)}...: ${rule}`,
  );
  const fits = "x".repeat(198);
  refuses(
    { attention_factor: fits },
    `Cannot read config.json field "rope_parameters.attention_factor" = "${fits}": ${rule}`,
  );
});

test("parseLlamaConfig takes settings of older files, where the newer object is empty, null or false", () => {
  const scaling = { rope_type: "linear", factor: 3 };
  for (const empty of [{}, null, false, undefined]) {
    for (
      const fields of [
        { rope_scaling: empty, rope_parameters: scaling },
        { rope_scaling: scaling, rope_parameters: empty },
      ]
    ) {
      assert.deepEqual(parseLlamaConfig({ ...tinyFields("llama"), ...fields }).ropeScaling, {
        type: "linear",
        factor: 3,
      });
    }
  }
});

test("openModel of every family answers, and its engine is of the context that is asked for", async () => {
  for (const name of ["llama", "qwen2", "llama3-rope"]) {
    const { engine, model } = await openModel(cpuDevice(), {
      folder: tinyFolder(name),
      maxModelLen: 5,
      engine: { maxSequences: 1 },
    });
    assert.deepEqual([engine.maxModelLen, engine.vocabSize], [5, model.config.vocabSize]);
    const events = await Array.fromAsync(engine.generate({
      promptTokenIds: [1, 2],
      maxTokens: 9,
      sampling: { temperature: 0, topP: 1, topK: 0 },
    }));
    assert.deepEqual(events.map(({ kind }) => kind), ["token", "token", "token", "end"]);
  }
});

/** A folder that counts the files that are open. */
function countingFiles(
  folder: ReadableFolder,
): { readonly folder: ReadableFolder; readonly open: () => number } {
  let files = 0;
  const counted: ReadableFolder = {
    ...folder,
    readText: (name) => folder.readText(name),
    exists: (name) => folder.exists(name),
    open: async (name) => {
      const source = await folder.open(name);
      files++;
      return {
        sizeBytes: source.sizeBytes,
        read: (...args) => source.read(...args),
        close: async () => {
          files--;
          await source.close?.();
        },
      };
    },
  };
  return { folder: counted, open: () => files };
}

test("openCheckpoint() closes its files where it refuses them, and when it is closed", async () => {
  const [first, second] = Object.entries(tinyWeights("llama"));
  const index = (places: Record<string, string>) => JSON.stringify({ weight_map: places });
  const shards = {
    "a.safetensors": weightsFile(Object.fromEntries([first])),
    "b.safetensors": weightsFile(Object.fromEntries([second])),
  };
  const whole = countingFiles(memoryFolder({
    ...shards,
    "model.safetensors.index.json": index({ [first[0]]: "././/a.safetensors", [second[0]]: "b.safetensors" }),
  }));
  const checkpoint = await openCheckpoint(whole.folder);
  assert.equal(whole.open(), 2);
  assert.deepEqual((await checkpoint.read(first[0])).data, first[1].data);
  await checkpoint.close();
  assert.equal(whole.open(), 0);
  const wrong = countingFiles(memoryFolder({
    ...shards,
    "model.safetensors.index.json": index({ [first[0]]: "a.safetensors", [second[0]]: "c.safetensors" }),
    "c.safetensors": new Uint8Array(3),
  }));
  await assert.rejects(openCheckpoint(wrong.folder), { name: "SafetensorsError" });
  assert.equal(wrong.open(), 0);
});

test("copyFaults() closes the model's files, whatever the copy is", async () => {
  const { folder, open } = countingFiles(tinyFolder("llama"));
  const faultOf = copyFaults(folder);
  const [name, weight] = Object.entries(tinyWeights("llama"))[0];
  assert.equal(await faultOf(name, weight), undefined);
  assert.equal(await faultOf("none.weight", weight), "the model has no such weight");
  assert.equal(open(), 0);
});

test("parseLlamaConfig reads fields of the families that have them, and of no others", () => {
  const parse = (fields: Record<string, unknown>) => parseLlamaConfig({ ...tinyFields("llama"), ...fields });
  assert.deepEqual(parse({ hidden_act: "swish" }), { ...parse({ hidden_act: "silu" }), activation: "swish" });
  assert.throws(() => parse({ hidden_act: "gelu_fast" }), { name: "ConfigError", message: /"hidden_act"/ });
  const layer_types = ["sliding_attention"];
  assert.deepEqual(parse({ layer_types }), parse({}));
  for (const types of [layer_types, "full_attention"]) {
    assert.throws(() => parse({ model_type: "qwen2", layer_types: types }), { message: /"layer_types"/ });
  }
  const biases = { attention_bias: true, mlp_bias: true };
  const biasesOf = (fields: Record<string, unknown>) => {
    const { qkvBias, outputBias, mlpBias } = parse(fields);
    return [qkvBias, outputBias, mlpBias];
  };
  const absent = { attention_bias: undefined, mlp_bias: undefined };
  assert.deepEqual(biasesOf(absent), [false, false, false]);
  assert.deepEqual(biasesOf(biases), [true, true, true]);
  assert.deepEqual(biasesOf({ ...biases, model_type: "mistral" }), [false, false, false]);
  assert.deepEqual(biasesOf({ ...biases, model_type: "qwen2" }), [true, false, false]);
  assert.deepEqual(biasesOf({ ...absent, model_type: "qwen2" }), [true, false, false]);
});

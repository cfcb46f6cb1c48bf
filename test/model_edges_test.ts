/**
 * Models' files at their edges, and what a model leaves behind on a device.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cpuDevice, type Device, openModel, perplexity } from "../mod.ts";
import { parseLlamaConfig } from "../src/models/llama/config.ts";
import { tinyFields, tinyFolder } from "./model_folders.ts";

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

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  type BatchEngine,
  cpuDevice,
  type Device,
  type GenerateEvent,
  openModel,
  type ReadableFolder,
  type TokenLogprobs,
} from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { Runner } from "../src/engine/runner.ts";
import { ConfigError } from "../src/errors.ts";
import { parseConfig } from "../src/models/families.ts";
import { type LlamaConfig, parseLlamaConfig } from "../src/models/llama/config.ts";
import { ropeFrequencies, ropeTable } from "../src/models/rope.ts";
import { everyDevice } from "./devices.ts";
import { lane } from "./lanes.ts";

/** What transformers computed, see fixtures/make_tiny.py. */
interface Golden {
  readonly prompt: readonly number[];
  /** (prompt, vocab) */
  readonly logits: readonly (readonly number[])[];
  readonly greedy: readonly number[];
  readonly inv_freq: readonly number[];
}

const names = [
  "llama",
  "llama-bias-tied",
  "llama3-rope",
  "llama-linear-rope",
  "mistral-sharded",
  "qwen2",
] as const;
type Name = (typeof names)[number];

const path = (name: Name, file = ""): string =>
  fileURLToPath(new URL(`fixtures/tiny/${name}/${file}`, import.meta.url));
const json = (name: Name, file: string) => JSON.parse(readFileSync(path(name, file), "utf8"));
const golden = (name: Name): Golden => json(name, "golden.json");
const fields = (name: Name): Record<string, unknown> => json(name, "config.json");
const devices = await everyDevice();

/** A folder with some texts in place of its files'; null hides one. */
function replaced(folder: ReadableFolder, texts: Readonly<Record<string, string | null>>): ReadableFolder {
  return {
    open: folder.open,
    readText: (name, options) =>
      name in texts ? Promise.resolve(texts[name] ?? "") : folder.readText(name, options),
    exists: (name) => name in texts ? Promise.resolve(texts[name] !== null) : folder.exists(name),
  };
}

async function greedy(engine: BatchEngine, { prompt, greedy }: Golden): Promise<number[]> {
  const ids: number[] = [];
  const request = {
    promptTokenIds: prompt,
    maxTokens: greedy.length,
    sampling: { temperature: 0, topP: 1, topK: 0 },
  };
  for await (const event of engine.generate(request)) if (event.kind === "token") ids.push(event.tokenId);
  return ids;
}

function near(actual: ArrayLike<number>, expected: readonly number[], what: string): void {
  assert.equal(actual.length, expected.length);
  expected.forEach((value, i) => {
    assert.ok(Math.abs(actual[i] - value) <= 1e-4, `${what}, token ${i}: ${actual[i]}, expected ${value}`);
  });
}

for (const [where, device] of devices) {
  for (const name of names) {
    test(`${name} on ${where}: logits at every position are transformers'`, async () => {
      const { prompt, logits } = golden(name);
      const { model } = await openModel(device, { folder: await openFolder(path(name)) });
      const runner = new Runner(device, model, {
        banks: [],
        maxRows: 16,
        maxOutputs: 16,
        cacheRows: 64,
        blockSize: 1,
      });
      const rows = prompt.map((token, position) => ({ token, position, blocks: lane(32) }));
      const outputs = rows.map((_, row) => ({ row, temperature: 0, topP: 1, topK: 0, uniform: 0 }));
      const sampled = await runner.step(rows, outputs);
      for (const [position, expected] of logits.entries()) {
        near(await runner.logits(position), expected, `position ${position}`);
        assert.equal(sampled[position], expected.indexOf(Math.max(...expected)));
      }
    });

    test(`${name} on ${where}: greedy ids are transformers', a chunked prompt and company or not`, async () => {
      const expected = golden(name);
      const { engine } = await openModel(device, {
        folder: await openFolder(path(name)),
        engine: { maxStepTokens: 5, maxSequences: 3 },
      });
      const all = await Promise.all(Array.from({ length: 4 }, () => greedy(engine, expected)));
      for (const ids of all) assert.deepEqual(ids, expected.greedy);
    });
  }
}

test("the engine's log-probabilities are those of transformers' logits, for prompt and new tokens", async () => {
  const { prompt, logits, greedy } = golden("qwen2");
  const { engine } = await openModel(cpuDevice(), { folder: await openFolder(path("qwen2")) });
  const logprobs = (row: readonly number[]): number[] => {
    const sum = Math.log(row.reduce((total, value) => total + Math.exp(value), 0));
    return row.map((value) => value - sum);
  };
  const events: GenerateEvent[] = await Array.fromAsync(engine.generate({
    promptTokenIds: prompt,
    maxTokens: 1,
    sampling: { temperature: 0, topP: 1, topK: 0 },
    logprobs: 20,
    promptLogprobs: true,
  }));
  assert.deepEqual(events.map(({ kind }) => kind), ["prompt", "token", "end"]);
  const [scored, token] = events;
  assert.ok(scored.kind === "prompt" && token.kind === "token");
  assert.equal(scored.logprobs.length, prompt.length);
  assert.equal(scored.logprobs[0], null);
  for (let i = 1; i < prompt.length; i++) {
    const row = logprobs(logits[i - 1]);
    near([scored.logprobs[i]!.logprob], [row[prompt[i]]], `prompt token ${i}`);
    const top: TokenLogprobs["top"] = scored.logprobs[i]!.top;
    assert.equal(top.length, 20);
    near(
      top.map((one) => one.logprob),
      row.toSorted((a, b) => b - a).slice(0, 20),
      `top of prompt token ${i}`,
    );
    near(top.map((one) => one.logprob), top.map((one) => row[one.tokenId]), "the ids of the top");
  }
  assert.equal(token.tokenId, greedy[0]);
  near([token.logprobs!.logprob], [Math.max(...logprobs(logits.at(-1)!))], "new token");
});

test("ropeFrequencies are transformers', for default, linear and llama3 scaling", () => {
  for (const name of names) {
    const found = ropeFrequencies(parseLlamaConfig(fields(name)));
    const expected = golden(name).inv_freq;
    assert.equal(found.length, expected.length);
    expected.forEach((value, i) => {
      assert.ok(Math.abs(found[i] / value - 1) <= 1e-6, `${name}, frequency ${i}: ${found[i]}, not ${value}`);
    });
  }
  // Of llama3's four, each regime has one at least: kept, blended, divided by 8.
  const plain = [1, 0.1, 0.01, 0.001];
  const ratios = golden("llama3-rope").inv_freq.map((value, i) => plain[i] / value);
  assert.ok(ratios[0] < 1.001 && ratios[1] > 1.1 && ratios[1] < 7.9 && ratios[3] > 7.99, `${ratios}`);
});

test("ropeTable holds cosines and sines of position times frequency", () => {
  const config = parseLlamaConfig(fields("llama"));
  const table = ropeTable(config, 200);
  const [first, second] = golden("llama").inv_freq;
  assert.equal(table.length, 200 * 2 * 2);
  const row = [...table.slice(4 * 199)];
  const expected = [first, second].flatMap((f) => [Math.cos(199 * f), Math.sin(199 * f)]);
  row.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-5, `${row}`));
});

test("parseLlamaConfig reads rope settings of transformers 5 and of older files alike", () => {
  const { rope_parameters, ...plain } = fields("llama3-rope");
  const { rope_theta, ...scaling } = rope_parameters as Record<string, unknown>;
  const now = parseLlamaConfig({ ...plain, rope_parameters });
  assert.deepEqual(parseLlamaConfig({ ...plain, rope_theta, rope_scaling: scaling }), now);
  const { rope_type, ...untyped } = scaling;
  assert.deepEqual(
    parseLlamaConfig({ ...plain, rope_theta, rope_scaling: { ...untyped, type: rope_type } }),
    now,
  );
  const linear = parseLlamaConfig({ ...plain, rope_theta: 5e5, rope_scaling: { type: "linear", factor: 4 } });
  assert.equal(linear.ropeTheta, 5e5);
  assert.deepEqual(linear.ropeScaling, { type: "linear", factor: 4 });
  const bare = parseLlamaConfig({ ...plain, rope_scaling: null });
  assert.equal(bare.ropeTheta, 10000);
  assert.deepEqual(bare.ropeScaling, { type: "default" });
});

test("parseLlamaConfig fills in what older files leave out, by family", () => {
  const { head_dim: _head, num_key_value_heads: _kv, tie_word_embeddings: _tie, ...old } = fields("llama");
  const config = parseLlamaConfig(old);
  assert.equal(config.headDim, 4);
  assert.equal(config.kvHeads, 4);
  assert.equal(config.tieWordEmbeddings, false);
  assert.deepEqual([config.qkvBias, config.outputBias, config.mlpBias], [false, false, false]);
  const qwen = parseLlamaConfig(fields("qwen2"));
  assert.deepEqual([qwen.qkvBias, qwen.outputBias], [true, false]);
  const biased = parseLlamaConfig(fields("llama-bias-tied"));
  assert.deepEqual([biased.qkvBias, biased.outputBias, biased.mlpBias], [true, true, true]);
  const windowed = parseLlamaConfig({ ...fields("mistral-sharded"), sliding_window: 40 });
  assert.deepEqual([windowed.maxPositions, windowed.layerKinds.map(({ window }) => window)], [256, [40, 40]]);
  // What transformers takes where a file says nothing is not what null says.
  const { sliding_window: _window, max_position_embeddings: _max, ...mistral } = fields("mistral-sharded");
  const lengths = (fields: Record<string, unknown>) => {
    const { maxPositions, layerKinds: [{ window }] } = parseLlamaConfig(fields);
    return [maxPositions, window];
  };
  assert.deepEqual(lengths(mistral), [4096 * 32, 4096]);
  assert.deepEqual(lengths({ ...mistral, sliding_window: null }), [4096 * 32, undefined]);
  const { num_key_value_heads: _heads, ...eight }: Record<string, unknown> = { ...mistral, head_dim: 2 };
  assert.equal(parseLlamaConfig({ ...eight, num_attention_heads: 8 }).kvHeads, 8);
  assert.equal(parseLlamaConfig({ ...eight, num_attention_heads: 16 }).kvHeads, 8);
  assert.equal(
    parseLlamaConfig({ ...eight, num_key_value_heads: null, num_attention_heads: 16 }).kvHeads,
    16,
  );
  // Families without such biases do not read the field.
  assert.equal(parseLlamaConfig({ ...mistral, attention_bias: true }).qkvBias, false);
});

/** Every way a config is refused: the changed fields, and the one the message must name. */
const refused: readonly (readonly [Record<string, unknown>, RegExp])[] = [
  [
    { model_type: "t5" },
    /"model_type" = "t5": supported are llama, mistral, .*, gemma3_text, gpt2, .* and vit/,
  ],
  [{ model_type: undefined }, /"model_type"/],
  [{ hidden_act: "gelu_fast" }, /"hidden_act" = "gelu_fast"/],
  [{ num_attention_heads: 0 }, /"num_attention_heads" = 0/],
  [{ num_attention_heads: 2.5 }, /"num_attention_heads" = 2\.5: it must be a positive integer/],
  [{ num_key_value_heads: 3 }, /"num_key_value_heads" = 3: it must divide num_attention_heads = 4/],
  [{ hidden_size: undefined }, /"hidden_size"/],
  [{ hidden_size: "16" }, /"hidden_size" = "16"/],
  [{ hidden_size: 18, head_dim: undefined }, /"head_dim"/],
  [{ hidden_size: 12, head_dim: undefined }, /"head_dim"/],
  [{ head_dim: 5 }, /"head_dim" = 5: rotary positions need an even size/],
  [{ vocab_size: -1 }, /"vocab_size" = -1/],
  [{ num_hidden_layers: null }, /"num_hidden_layers" = null/],
  [{ rms_norm_eps: 0 }, /"rms_norm_eps" = 0/],
  [{ tie_word_embeddings: "yes" }, /"tie_word_embeddings" = "yes"/],
  [{ attention_bias: 1 }, /"attention_bias" = 1/],
  [{ rope_parameters: { rope_type: "su", factor: 2 } }, /rope_type" = "su": supported are default/],
  [{ rope_parameters: { rope_type: null, type: "linear", factor: 2 } }, /rope_type" = null/],
  [{ rope_parameters: { rope_type: "yarn" } }, /"rope_parameters\.factor"/],
  [{ rope_parameters: { rope_type: "dynamic", factor: 2, alpha: 9 } }, /"rope_parameters\.alpha" = 9/],
  [{ rope_parameters: { full_attention: { rope_type: "default" } } }, /"rope_parameters\.full_attention"/],
  [{ rope_parameters: { rope_type: "yarn", factor: 1e-320 } }, /frequencies are not finite/],
  [{ rope_parameters: { rope_type: "yarn", factor: 2, truncate: 1 } }, /"truncate" = 1/],
  [{ rope_parameters: { rope_type: "yarn", factor: 2, attention_factor: -1 } }, /attention_factor" = -1/],
  [{ rope_parameters: { rope_type: "longrope", short_factor: [1, 1] } }, /long_factor.*list of 2 positive/],
  [
    { rope_parameters: { rope_type: "longrope", short_factor: [1], long_factor: [1, 2] } },
    /short_factor.*list of 2 positive/,
  ],
  [{ rope_parameters: { partial_rotary_factor: 0.5 } }, /"partial_rotary_factor" = 0\.5/],
  [{ partial_rotary_factor: 0.5 }, /"partial_rotary_factor" = 0\.5/],
  [{ rope_parameters: {}, rope_theta: null }, /"rope_theta" = null/],
  [{ rope_scaling: "yarn" }, /"rope_scaling" = "yarn"/],
  [
    { original_max_position_embeddings: 0, rope_parameters: { rope_type: "yarn", factor: 2 } },
    /"original_max_position_embeddings" = 0/,
  ],
  [
    { model_type: "qwen2", layer_types: ["full_attention", "sliding_attention"] },
    /"use_sliding_window" = undefined: layers with sliding attention need a window/,
  ],
  [{ hidden_act: null }, /"hidden_act" = null/],
  [{ rope_parameters: { rope_type: "linear" } }, /"factor"/],
  [{ rope_parameters: { rope_type: "llama3", factor: 8 } }, /"low_freq_factor"/],
  [{ rope_parameters: { rope_theta: -1 } }, /"rope_theta" = -1/],
  [{ rope_parameters: [1] }, /"rope_parameters" = \[1\]/],
  [{ model_type: "mistral", sliding_window: "40" }, /"sliding_window" = "40": it must be a positive integer/],
  [{ quantization_config: { bits: 4 } }, /"quantization_config"/],
  [{ model_type: "qwen2", use_sliding_window: "yes" }, /"use_sliding_window" = "yes"/],
];

for (const [changes, rule] of refused) {
  test(`parseConfig refuses ${JSON.stringify(changes)}, by the field`, () => {
    assert.throws(() => parseConfig({ ...fields("llama"), ...changes }), (error: Error) => {
      assert.ok(error instanceof ConfigError, `${error}`);
      assert.match(error.message, rule);
      return true;
    });
  });
}

async function opening(device: Device, texts: Record<string, string | null>, name: Name = "llama") {
  const folder = replaced(await openFolder(path(name)), texts);
  return await openModel(device, { folder });
}

function configText(name: Name, changes: Record<string, unknown>): string {
  return JSON.stringify({ ...fields(name), ...changes });
}

test("openModel refuses weights that are missing, misshapen or unknown to the config, by their names", async () => {
  const cpu = cpuDevice();
  const refuses = async (name: Name, changes: Record<string, unknown>, rule: RegExp): Promise<void> => {
    await assert.rejects(opening(cpu, { "config.json": configText(name, changes) }, name), (error: Error) => {
      assert.ok(error instanceof ConfigError, `${error}`);
      assert.match(error.message, rule);
      return true;
    });
  };
  await refuses(
    "llama",
    { num_hidden_layers: 3 },
    /Cannot find weight "model\.layers\.2\.self_attn\.q_proj\.weight"/,
  );
  await refuses("llama", { num_hidden_layers: 1 }, /Cannot use weight "model\.layers\.1\..*and \d+ more/);
  await refuses("llama", { vocab_size: 31 }, /"model\.embed_tokens\.weight" of shape \[32,16\].*\[31,16\]/);
  await refuses("llama", { attention_bias: true }, /Cannot find weight ".*q_proj\.bias"/);
  await refuses("llama-bias-tied", { attention_bias: false }, /Cannot use weight ".*_proj\.bias"/);
  await refuses("llama-bias-tied", { tie_word_embeddings: false }, /Cannot find weight "lm_head\.weight"/);
});

test("openModel refuses folders without config or tokenizer, broken JSON, and lengths it has no positions for", async () => {
  const cpu = cpuDevice();
  await assert.rejects(opening(cpu, { "config.json": null }), /Cannot find config\.json/);
  await assert.rejects(opening(cpu, { "config.json": "{" }), /Cannot read config\.json as JSON/);
  await assert.rejects(opening(cpu, { "config.json": "3" }), /it must be a JSON object/);
  await assert.rejects(opening(cpu, { "tokenizer.json": null }), /Cannot find tokenizer\.json/);
  const folder = await openFolder(path("llama"));
  for (const maxModelLen of [0, 257, 1.5]) {
    await assert.rejects(openModel(cpu, { folder, maxModelLen }), {
      name: "RangeError",
      message: `Cannot open the model for ${maxModelLen} tokens: it has positions for 1..256`,
    });
  }
});

test("openModel reports its progress, weight by weight, to the end", async () => {
  const seen: string[] = [];
  await openModel(cpuDevice(), {
    folder: await openFolder(path("mistral-sharded")),
    onWeight: (done, total) => seen.push(`${done}/${total}`),
  });
  assert.equal(seen[0], "1/21");
  assert.equal(seen.at(-1), "21/21");
});

test("parseLlamaConfig's result for a real file is what the file says, field by field", () => {
  const expected: LlamaConfig = {
    modelType: "mistral",
    vocabSize: 32,
    hiddenSize: 16,
    intermediateSize: 20,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    headDim: 2,
    activation: "silu",
    rmsNormEps: 1e-6,
    maxPositions: 256,
    rotaryDim: 2,
    ropeTheta: 10000,
    ropeScaling: { type: "default" },
    localRope: undefined,
    layerKinds: [{ rope: "global" }, { rope: "global" }],
    rerunBeyond: undefined,
    tieWordEmbeddings: false,
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    fused: false,
    norms: "before",
    normOffset: 0,
    qkNorm: undefined,
    attentionScale: 1 / Math.sqrt(2),
    embeddingScale: 1,
    residualScale: 1,
    logitScale: 1,
    attentionSoftcap: undefined,
    logitSoftcap: undefined,
    quantization: undefined,
  };
  assert.deepEqual(parseLlamaConfig(fields("mistral-sharded")), expected);
});

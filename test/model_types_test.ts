import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { ConfigError } from "../src/errors.ts";
import { defaultTargets, parseConfig } from "../src/models/families.ts";
import { type LlamaConfig, parseLlamaConfig } from "../src/models/llama/config.ts";

type Fields = Record<string, unknown>;

const fieldsOf = (family: string): Fields => {
  const path = fileURLToPath(new URL(`fixtures/families/${family}/base/config.json`, import.meta.url));
  return JSON.parse(readFileSync(path, "utf8"));
};

const parse = (family: string, changes: Fields = {}): LlamaConfig =>
  parseLlamaConfig({ ...fieldsOf(family), ...changes });

/** Each layer's window, 0 for none. */
const windows = (family: string, changes: Fields): number[] =>
  parse(family, changes).layerKinds.map(({ window = 0 }) => window);

test("parseLlamaConfig gives each layer the window that transformers gives it", () => {
  const four = { num_hidden_layers: 4, layer_types: null };
  const used = { ...four, use_sliding_window: true, sliding_window: 6 };
  assert.deepEqual(windows("qwen3", { ...used, max_window_layers: 3 }), [0, 0, 0, 6]);
  assert.deepEqual(windows("qwen3", { ...used, max_window_layers: 0 }), [6, 6, 6, 6]);
  assert.deepEqual(windows("qwen3", { ...used, sliding_window: null }), [0, 0, 0, 0]);
  assert.deepEqual(windows("qwen3", { ...used, use_sliding_window: false }), [0, 0, 0, 0]);
  const listed = ["sliding_attention", "full_attention", "full_attention", "sliding_attention"];
  assert.deepEqual(windows("qwen2", { ...used, layer_types: listed }), [6, 0, 0, 6]);
  assert.deepEqual(windows("mistral", four), [8, 8, 8, 8]);
  assert.deepEqual(windows("mistral", { ...four, sliding_window: null }), [0, 0, 0, 0]);
  assert.deepEqual(windows("phi3", { ...four, sliding_window: 5 }), [5, 5, 5, 5]);
  assert.deepEqual(windows("gemma2", four), [8, 0, 8, 0]);
  assert.deepEqual(windows("gemma2", { ...four, sliding_window_pattern: 3 }), [8, 0, 8, 0]);
  assert.deepEqual(windows("gemma3", { ...four, sliding_window_pattern: 3 }), [8, 8, 0, 8]);
  assert.deepEqual(windows("gemma3", { ...four, _sliding_window_pattern: 2 }), [8, 8, 8, 8]);
  const noRope = { ...used, no_rope_layers: null, no_rope_layer_interval: 2 };
  assert.deepEqual(windows("smollm3", noRope), [0, 6, 0, 6]);
  assert.deepEqual(windows("smollm3", { ...noRope, use_sliding_window: false }), [0, 0, 0, 0]);
  assert.deepEqual(windows("smollm3", { ...noRope, use_sliding_window: false, layer_types: listed }), [
    6,
    0,
    0,
    6,
  ]);
  assert.deepEqual(windows("granite", { ...used, layer_types: listed }), [0, 0, 0, 0]);
});

test("parseLlamaConfig gives each layer the rotary settings that transformers gives it", () => {
  const ropes = (family: string, changes: Fields) =>
    parse(family, changes).layerKinds.map(({ rope }) => rope);
  const three = { num_hidden_layers: 3, layer_types: null };
  assert.deepEqual(ropes("smollm3", { ...three, no_rope_layers: [0, 1, 1] }), ["none", "global", "global"]);
  assert.deepEqual(ropes("smollm3", { ...three, no_rope_layers: null }), ["global", "global", "global"]);
  assert.deepEqual(ropes("gemma3", { ...three, sliding_window_pattern: 2 }), ["local", "global", "local"]);
  assert.deepEqual(ropes("gemma2", three), ["global", "global", "global"]);
  const { localRope, ropeTheta, ropeScaling } = parse("gemma3", {
    rope_parameters: null,
    rope_theta: 77,
    rope_local_base_freq: 5,
    rope_scaling: { type: "linear", factor: 3 },
  });
  assert.deepEqual([ropeTheta, ropeScaling], [77, { type: "linear", factor: 3 }]);
  assert.deepEqual(localRope, { headDim: 8, ropeTheta: 5, ropeScaling: { type: "default" } });
  const bare = parse("gemma3", { rope_parameters: null });
  assert.deepEqual([bare.ropeTheta, bare.localRope!.ropeTheta], [1e6, 1e4]);
  assert.equal(parse("smollm3", { rope_parameters: null }).ropeTheta, 2e6);
});

test("parseLlamaConfig reads Phi-3's rotary settings: a part of a head, old names, and its own original length", () => {
  const lists = { short_factor: [1, 2], long_factor: [3, 4] };
  const of = (type: string, more: Fields = {}) =>
    parse("phi3", { rope_parameters: { type, partial_rotary_factor: 0.5, ...lists, ...more } });
  for (const type of ["longrope", "su", "yarn"]) {
    const { rotaryDim, ropeScaling, rerunBeyond } = of(type);
    assert.deepEqual([rotaryDim, ropeScaling.type, rerunBeyond], [4, "longrope", 128]);
  }
  const { original_max_position_embeddings: _, ...rest } = fieldsOf("phi3");
  const rope_parameters = { rope_type: "longrope", partial_rotary_factor: 0.5, ...lists };
  assert.equal(parseLlamaConfig({ ...rest, rope_parameters }).rerunBeyond, 4096);
  assert.equal(parse("phi3", { partial_rotary_factor: 0.75, rope_parameters: {} }).rotaryDim, 6);
  assert.equal(parse("phi3").rerunBeyond, undefined);
});

test("parseLlamaConfig takes transformers' values for what a type's file leaves out", () => {
  const bare = (model_type: string): LlamaConfig =>
    parseLlamaConfig({
      ...{ model_type, vocab_size: 8, hidden_size: 512, intermediate_size: 8 },
      ...{ num_hidden_layers: 6, num_attention_heads: 32 },
    });
  const told = (model_type: string) => {
    const { kvHeads, headDim, rmsNormEps, maxPositions, tieWordEmbeddings } = bare(model_type);
    return [kvHeads, headDim, rmsNormEps, maxPositions, tieWordEmbeddings];
  };
  assert.deepEqual(told("qwen3"), [32, 128, 1e-6, 32768, false]);
  assert.deepEqual(told("phi3"), [32, 16, 1e-5, 4096, false]);
  assert.deepEqual(told("smollm3"), [4, 16, 1e-6, 32768, true]);
  assert.deepEqual(told("granite"), [32, 16, 1e-6, 2048, false]);
  assert.deepEqual(told("olmo2"), [32, 16, 1e-5, 2048, false]);
  assert.deepEqual(told("gemma"), [16, 256, 1e-6, 8192, true]);
  assert.deepEqual(told("gemma2"), [4, 256, 1e-6, 8192, true]);
  assert.deepEqual(told("gemma3_text"), [4, 256, 1e-6, 131072, true]);
  const { attentionSoftcap, logitSoftcap, attentionScale } = bare("gemma2");
  assert.deepEqual([attentionSoftcap, logitSoftcap, attentionScale], [50, 30, 1 / 16]);
  const plain = bare("gemma3_text");
  assert.deepEqual([plain.attentionSoftcap, plain.logitSoftcap], [undefined, undefined]);
  const { embeddingScale, residualScale, logitScale } = bare("granite");
  assert.deepEqual([embeddingScale, residualScale, logitScale, bare("granite").attentionScale], [1, 1, 1, 1]);
});

test("defaultTargets are those of PEFT's mappings", () => {
  const targets = (family: string, peftType: string) =>
    defaultTargets(parseConfig(fieldsOf(family)), peftType);
  for (const family of ["mistral", "qwen2", "qwen3", "gemma2", "gemma3", "variants/gemma"]) {
    for (const peftType of ["LORA", "FOURIERFT", "VERA"]) {
      assert.deepEqual(targets(family, peftType), ["q_proj", "v_proj"], family);
    }
  }
  assert.deepEqual(targets("mistral", "IA3"), ["k_proj", "v_proj", "down_proj"]);
  assert.deepEqual(targets("qwen3", "IA3"), ["q_proj", "v_proj", "down_proj"]);
  for (const family of ["phi3", "smollm3", "granite", "olmo2"]) {
    assert.equal(targets(family, "LORA"), undefined);
  }
  assert.deepEqual(targets("gpt2", "LORA"), ["c_attn"]);
  assert.deepEqual(targets("gpt2", "FOURIERFT"), ["mlp.c_proj"]);
  assert.deepEqual(targets("gpt2", "IA3"), ["c_attn", "mlp.c_proj"]);
});

/** Every way a config is refused: a family, the changed fields, and what the message must say. */
const refused: readonly (readonly [family: string, Fields, RegExp])[] = [
  [
    "qwen3",
    { use_sliding_window: true, sliding_window: 4, max_window_layers: -1, layer_types: null },
    /"max_window_layers" = -1/,
  ],
  ["qwen3", { layer_types: ["full_attention"] }, /"layer_types" .* it must be a list of 2 names/],
  ["qwen3", { layer_types: ["full_attention", "chunked_attention"] }, /"layer_types"/],
  ["qwen3", { use_sliding_window: true, sliding_window: 0, layer_types: null }, /"sliding_window" = 0/],
  [
    "smollm3",
    { layer_types: ["full_attention", "sliding_attention"] },
    /"sliding_window" = null: layers with sliding attention need a window/,
  ],
  ["smollm3", { no_rope_layers: [1] }, /"no_rope_layers" = \[1\]: it must be a list of 2 numbers/],
  ["smollm3", { no_rope_layers: [1, 2] }, /"no_rope_layers"/],
  ["smollm3", { no_rope_layers: null, no_rope_layer_interval: 0 }, /"no_rope_layer_interval" = 0/],
  ["gemma2", { sliding_window: null }, /"sliding_window" = null/],
  ["gemma2", { use_bidirectional_attention: true }, /"use_bidirectional_attention" = true/],
  ["gemma2", { attn_logit_softcapping: 0 }, /"attn_logit_softcapping" = 0/],
  ["gemma2", { final_logit_softcapping: -1 }, /"final_logit_softcapping" = -1/],
  ["gemma2", { query_pre_attn_scalar: 0 }, /"query_pre_attn_scalar" = 0/],
  ["gemma2", { hidden_activation: null }, /"hidden_activation" = null/],
  ["gemma2", { rope_parameters: { full_attention: {} } }, /"rope_parameters\.full_attention" = \{\}/],
  ["gemma3", { sliding_window_pattern: 0, layer_types: null }, /"sliding_window_pattern" = 0/],
  ["gemma3", { rope_parameters: { rope_type: "default" } }, /"rope_parameters\.rope_type" = "default"/],
  ["gemma3", { rope_parameters: { full_attention: 3 } }, /"rope_parameters\.full_attention" = 3/],
  ["gemma3", { rope_parameters: [] }, /"rope_parameters" = \[\]/],
  [
    "gemma3",
    { rope_parameters: { sliding_attention: { rope_type: "dynamic", factor: 2 } } },
    /"rope_parameters\.sliding_attention\.rope_type" = "dynamic"/,
  ],
  [
    "phi3",
    { rope_parameters: { rope_type: "linear", factor: 2 } },
    /"rope_parameters\.rope_type" = "linear"/,
  ],
  ["phi3", { rope_parameters: { partial_rotary_factor: 0.2 } }, /"partial_rotary_factor" = 0\.2/],
  ["phi3", { rope_parameters: { partial_rotary_factor: 1.5 } }, /"partial_rotary_factor" = 1\.5/],
  ["granite", { rope_parameters: { partial_rotary_factor: 0.5 } }, /"partial_rotary_factor" = 0\.5/],
  ["granite", { logits_scaling: 0 }, /"logits_scaling" = 0/],
  ["granite", { residual_multiplier: "1" }, /"residual_multiplier" = "1"/],
  ["olmo2", { hidden_act: "gelu_fast" }, /"hidden_act" = "gelu_fast": supported are gelu, gelu_new/],
];

for (const [family, changes, rule] of refused) {
  test(`parseLlamaConfig refuses a ${family} of ${JSON.stringify(changes)}, by the field`, () => {
    assert.throws(() => parse(family, changes), (error: Error) => {
      assert.ok(error instanceof ConfigError, `${error}`);
      assert.match(error.message, rule);
      return true;
    });
  });
}

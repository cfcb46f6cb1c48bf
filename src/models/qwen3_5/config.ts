/**
 * A Hugging Face config.json of Qwen3.5, checked: every value that shapes the forward of text is read or refused.
 *
 * @module
 */
import { isJsonObject } from "../../json.ts";
import { count, fail, type Fields, flag, layerCount, positive } from "../config_fields.ts";
import type { ModelConfig } from "../family.ts";
import { type Activation, activationNames } from "../operations/mod.ts";
import { parseQuantization } from "../quantization.ts";
import { isFiniteRope } from "../rope.ts";
import { parseRope, type RopeConfig } from "../rope_config.ts";

/** Values of `model_type`: a decoder alone, and one beside an encoder of images. */
export type Qwen35Type = "qwen3_5_text" | "qwen3_5";

/** What mixes the tokens of a layer. */
export type MixerKind = "linear_attention" | "full_attention";

/** Heads of a gated delta net. */
export interface DeltaNet {
  readonly keyHeads: number;
  readonly heads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Rows that its convolution takes, the row's own among them. */
  readonly convWidth: number;
}

/** What a Qwen3.5 is built from. */
export interface Qwen35Config extends ModelConfig {
  readonly modelType: Qwen35Type;
  readonly mixers: readonly MixerKind[];
  readonly intermediateSize: number;
  readonly activation: Activation;
  readonly rmsNormEps: number;
  readonly rope: RopeConfig;
  /** Biases of attention's linears. */
  readonly attentionBias: boolean;
  readonly deltaNet: DeltaNet;
}

/** Names of mixers, those of older files among them. */
const mixerKinds: Readonly<Record<string, MixerKind>> = {
  linear_attention: "linear_attention",
  full_attention: "full_attention",
  conv: "linear_attention",
  mamba: "linear_attention",
  attention: "full_attention",
};

/** `layer_types`, or attention in each `full_attention_interval`th layer. */
function mixersOf(fields: Fields, layers: number): readonly MixerKind[] {
  const { layer_types: listed = null } = fields;
  if (listed === null) {
    const interval = count(fields, "full_attention_interval", 4);
    return Array.from(
      { length: layers },
      (_, i) => (i + 1) % interval === 0 ? "full_attention" : "linear_attention",
    );
  }
  const isList = Array.isArray(listed) && listed.length === layers &&
    listed.every((name) => typeof name === "string" && Object.hasOwn(mixerKinds, name));
  if (!isList) {
    const names = "linear_attention or full_attention";
    fail("layer_types", listed, `it must be a list of ${layers} names, each ${names}`);
  }
  return listed.map((name) => mixerKinds[name]);
}

function deltaNetOf(fields: Fields): DeltaNet {
  const keyHeads = count(fields, "linear_num_key_heads", 16), field = "linear_num_value_heads";
  const heads = count(fields, field, 32);
  if (heads % keyHeads !== 0) {
    fail(field, heads, `it must be a multiple of linear_num_key_heads = ${keyHeads}`);
  }
  return {
    keyHeads,
    heads,
    keyDim: count(fields, "linear_key_head_dim", 128),
    valueDim: count(fields, "linear_value_head_dim", 128),
    convWidth: count(fields, "linear_conv_kernel_dim", 4),
  };
}

function headsOf(fields: Fields) {
  const heads = count(fields, "num_attention_heads", 16), kvHeads = count(fields, "num_key_value_heads", 4);
  if (heads % kvHeads !== 0) {
    fail("num_key_value_heads", kvHeads, `it must divide num_attention_heads = ${heads}`);
  }
  return { heads, kvHeads, headDim: count(fields, "head_dim", 256) };
}

/** Positions of images, by sections of a head's turns: those of a text are one number, whatever the sections are. */
const sectionFields = ["mrope_section", "mrope_interleaved"];

/** Rotary settings without the fields that say something of images alone. */
function ropeFields(fields: Fields): Fields {
  const settings = ["rope_scaling", "rope_parameters"].filter((name) => isJsonObject(fields[name]));
  const without = settings.map((name) => {
    const own = Object.entries(fields[name] as Fields).filter(([field]) => !sectionFields.includes(field));
    return [name, Object.fromEntries(own)] as const;
  });
  return { partial_rotary_factor: 0.25, ...fields, ...Object.fromEntries(without) };
}

function activationOf(fields: Fields): Activation {
  const { hidden_act: name = "silu" } = fields;
  return activationNames.find((known) => known === name) ??
    fail("hidden_act", name, `supported are ${activationNames.join(", ")}`);
}

/** The decoder's fields: those of `text_config`, where there is an encoder of images, too. */
function textFields(fields: Fields): Fields {
  if (fields.model_type !== "qwen3_5") return fields;
  const { text_config: text, tie_word_embeddings, quantization_config } = fields;
  if (!isJsonObject(text)) fail("text_config", text, "it must be an object");
  const { model_type: type = "qwen3_5_text" } = text;
  if (type !== "qwen3_5_text") fail("text_config.model_type", type, "it must be qwen3_5_text");
  return { tie_word_embeddings, ...text, quantization_config };
}

/**
 * Checks a parsed config.json.
 *
 * @throws ConfigError that names the field, its value and the rule.
 */
export function parseQwen35Config(all: Fields): Qwen35Config {
  const fields = textFields(all), modelType = all.model_type as Qwen35Type;
  const { heads, kvHeads, headDim } = headsOf(fields);
  const layers = layerCount(fields, "num_hidden_layers", 32);
  const context = { headDim, maxPositions: count(fields, "max_position_embeddings", 32768), isPartial: true };
  const { theta, scaling, rotaryDim, maxPositions } = parseRope(ropeFields(fields), context);
  if (rotaryDim % 2 !== 0) fail("head_dim", headDim, "rotary positions need an even size");
  const config: Qwen35Config = {
    modelType,
    vocabSize: count(fields, "vocab_size", 248320),
    hiddenSize: count(fields, "hidden_size", 4096),
    intermediateSize: count(fields, "intermediate_size", 12288),
    layers,
    mixers: mixersOf(fields, layers),
    ...{ heads, kvHeads, headDim },
    activation: activationOf(fields),
    rmsNormEps: positive(fields, "rms_norm_eps", 1e-6),
    maxPositions,
    ropeScaling: scaling,
    rope: { headDim: rotaryDim, ropeTheta: theta, ropeScaling: scaling },
    attentionBias: flag(fields, "attention_bias", false),
    deltaNet: deltaNetOf(fields),
    tieWordEmbeddings: flag(fields, "tie_word_embeddings", false),
    untrainable: "the gated delta rule of its layers has no gradient",
    quantization: parseQuantization(fields.quantization_config, fail),
  };
  if (!isFiniteRope(config.rope, config.maxPositions)) {
    fail("rope_parameters", fields.rope_scaling ?? fields.rope_parameters, "its frequencies are not finite");
  }
  return config;
}

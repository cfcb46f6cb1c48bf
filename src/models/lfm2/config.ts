/**
 * A Hugging Face config.json of LFM2, checked: every value that shapes the forward is read or refused.
 *
 * @module
 */
import { count, fail, type Fields, flag, layerCount, positive } from "../config_fields.ts";
import type { ModelConfig } from "../family.ts";
import { parseQuantization } from "../quantization.ts";
import { isFiniteRope } from "../rope.ts";
import { parseRope, type RopeConfig } from "../rope_config.ts";

/** What mixes the tokens of a layer. */
export type MixerKind = "conv" | "full_attention";

const mixerKinds: readonly MixerKind[] = ["conv", "full_attention"];

/** What an LFM2 is built from. */
export interface Lfm2Config extends ModelConfig {
  readonly mixers: readonly MixerKind[];
  readonly intermediateSize: number;
  readonly normEps: number;
  readonly rope: RopeConfig;
  /** Rows that a convolution takes, its own among them. */
  readonly convWidth: number;
  /** Biases of the convolutions, and of the linears around them. */
  readonly convBias: boolean;
}

/** `layer_types`, or `full_attn_idxs` of older files; layers of neither have attention. */
function mixersOf(fields: Fields, layers: number): readonly MixerKind[] {
  const { layer_types: listed = null, full_attn_idxs: indexes = null } = fields;
  if (listed !== null) {
    const isList = Array.isArray(listed) && listed.length === layers &&
      listed.every((name) => mixerKinds.includes(name));
    if (!isList) {
      fail("layer_types", listed, `it must be a list of ${layers} names, each ${mixerKinds.join(" or ")}`);
    }
    return listed;
  }
  if (indexes === null) return Array<MixerKind>(layers).fill("full_attention");
  if (!Array.isArray(indexes) || !indexes.every((one) => Number.isSafeInteger(one) && one >= 0)) {
    fail("full_attn_idxs", indexes, "it must be a list of numbers of layers");
  }
  return Array.from({ length: layers }, (_, i) => indexes.includes(i) ? "full_attention" : "conv");
}

/** `intermediate_size`, or what the fields around it make of it, as transformers does. */
function intermediateSizeOf(fields: Fields): number {
  const given = count(fields, "block_ff_dim" in fields ? "block_ff_dim" : "intermediate_size", 12288);
  if (!flag(fields, "block_auto_adjust_ff_dim", true)) return given;
  const { block_ffn_dim_multiplier: multiplier = 1 } = fields, part = Math.floor(2 * given / 3);
  const adjusted = multiplier === null
    ? part
    : Math.floor(positive(fields, "block_ffn_dim_multiplier", 1) * part);
  const multiple = multiplier === null ? 1 : count(fields, "block_multiple_of", 256);
  const size = multiple * Math.ceil(adjusted / multiple);
  if (size < 1) fail("intermediate_size", given, "it must leave the MLP a column");
  return size;
}

function headsOf(fields: Fields, hiddenSize: number) {
  const heads = count(fields, "num_attention_heads", 32), kvHeads = count(fields, "num_key_value_heads", 8);
  if (heads % kvHeads !== 0) {
    fail("num_key_value_heads", kvHeads, `it must divide num_attention_heads = ${heads}`);
  }
  const headDim = count(fields, "head_dim", Math.floor(hiddenSize / heads));
  if (headDim % 2 !== 0) fail("head_dim", headDim, "rotary positions need an even size");
  return { heads, kvHeads, headDim };
}

/**
 * Checks a parsed config.json.
 *
 * @throws ConfigError that names the field, its value and the rule.
 */
export function parseLfm2Config(fields: Fields): Lfm2Config {
  const hiddenSize = count(fields, "hidden_size", 2560);
  const layers = layerCount(fields, "num_hidden_layers", 32);
  const { heads, kvHeads, headDim } = headsOf(fields, hiddenSize);
  const maxPositions = count(fields, "max_position_embeddings", 128_000);
  const { theta, scaling, ...rope } = parseRope(fields, { headDim, maxPositions, theta: 1e6 });
  const config: Lfm2Config = {
    modelType: "lfm2",
    vocabSize: count(fields, "vocab_size", 65536),
    hiddenSize,
    intermediateSize: intermediateSizeOf(fields),
    layers,
    mixers: mixersOf(fields, layers),
    ...{ heads, kvHeads, headDim },
    normEps: positive(fields, "norm_eps", 1e-5),
    maxPositions: rope.maxPositions,
    ropeScaling: scaling,
    rope: { headDim: rope.rotaryDim, ropeTheta: theta, ropeScaling: scaling },
    convWidth: count(fields, "conv_L_cache", 3),
    convBias: flag(fields, "conv_bias", false),
    tieWordEmbeddings: flag(
      fields,
      "tie_embedding" in fields ? "tie_embedding" : "tie_word_embeddings",
      true,
    ),
    quantization: parseQuantization(fields.quantization_config, fail),
  };
  if (!isFiniteRope(config.rope, config.maxPositions)) {
    fail("rope_parameters", fields.rope_scaling ?? fields.rope_parameters, "its frequencies are not finite");
  }
  return config;
}

/**
 * A Hugging Face config.json of ViT, checked: every value that shapes the forward is read or refused.
 *
 * @module
 */
import { count, fail, type Fields, flag, layerCount, positive } from "../config_fields.ts";
import { labelsOf, problemOf } from "../encoder_fields.ts";
import type { EncoderConfig, ModelConfig } from "../family.ts";
import { type Activation, activationNames } from "../operations/mod.ts";
import { parseQuantization } from "../quantization.ts";

/** What a ViT is built from. */
export interface VitConfig extends ModelConfig {
  readonly intermediateSize: number;
  readonly layerNormEps: number;
  readonly activation: Activation;
  /** Whether queries, keys and values have biases. */
  readonly qkvBias: boolean;
  readonly image: Required<EncoderConfig>["image"];
  readonly encoder: EncoderConfig;
}

/**
 * Checks a parsed config.json.
 *
 * @throws ConfigError that names the field, its value and the rule.
 */
export function parseVitConfig(fields: Fields): VitConfig {
  const heads = count(fields, "num_attention_heads", 12), hiddenSize = count(fields, "hidden_size", 768);
  if (hiddenSize % heads !== 0) {
    fail("hidden_size", hiddenSize, `it must be a multiple of num_attention_heads = ${heads}`);
  }
  const image = {
    size: count(fields, "image_size", 224),
    patch: count(fields, "patch_size", 16),
    channels: count(fields, "num_channels", 3),
  };
  const { size, patch } = image;
  if (size % patch !== 0) fail("image_size", size, `it must be a multiple of patch_size = ${patch}`);
  const { hidden_act: name = "gelu" } = fields;
  return {
    modelType: "vit",
    vocabSize: 0,
    hiddenSize,
    intermediateSize: count(fields, "intermediate_size", 3072),
    layers: layerCount(fields, "num_hidden_layers", 12),
    heads,
    kvHeads: heads,
    headDim: hiddenSize / heads,
    layerNormEps: positive(fields, "layer_norm_eps", 1e-12),
    // The class token's row comes first.
    maxPositions: (size / patch) ** 2 + 1,
    activation: activationNames.find((known) => known === name) ??
      fail("hidden_act", name, `supported are ${activationNames.join(", ")}`),
    tieWordEmbeddings: false,
    quantization: parseQuantization(fields.quantization_config, fail),
    qkvBias: flag(fields, "qkv_bias", true),
    image,
    encoder: {
      input: "pixels",
      types: 2,
      firstPosition: 0,
      image,
      classifier: [{ path: "classifier", last: true }],
      labels: labelsOf(fields),
      problem: problemOf(fields),
    },
  };
}

/**
 * A Hugging Face config.json of the Llama family, checked: every value that shapes the forward is read or refused.
 *
 * @module
 */
import { count, fail, type Fields, flag, positive } from "../config_fields.ts";
import type { ModelConfig } from "../family.ts";
import { parseQuantization } from "../quantization.ts";
import { isFiniteRope } from "../rope.ts";
import { parseRope, type RopeScaling } from "../rope_config.ts";

/** Values of `model_type`. */
export const modelTypes = ["llama", "mistral", "qwen2"] as const;

/** What a Llama-family decoder is built from. */
export interface LlamaConfig extends ModelConfig {
  readonly modelType: typeof modelTypes[number];
  readonly intermediateSize: number;
  readonly rmsNormEps: number;
  /**
   * Longest sequence: `max_position_embeddings`, what rotary scaling stretches it to, or a smaller sliding window, within
   * which full attention is the same.
   */
  readonly maxPositions: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  /** Biases of q, k and v. */
  readonly qkvBias: boolean;
  /** Bias of o. */
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
}

type ModelType = LlamaConfig["modelType"];

/** What transformers takes for fields that a config.json leaves out, where families differ. */
const defaults: Readonly<
  Record<ModelType, { readonly maxPositions: number; readonly kvHeads?: number; readonly window?: number }>
> = {
  llama: { maxPositions: 2048 },
  mistral: { maxPositions: 4096 * 32, kvHeads: 8, window: 4096 },
  qwen2: { maxPositions: 32768, kvHeads: 32 },
};

/** Fields that would change the forward when set, and are not supported. */
function refuseOthers(fields: Fields): void {
  const { hidden_act: act = "silu" } = fields;
  // transformers knows it by both names.
  if (act !== "silu" && act !== "swish") fail("hidden_act", act, "supported is silu");
  if (fields.use_sliding_window === true) {
    fail("use_sliding_window", true, "layers with sliding windows are not supported");
  }
  const types = fields.model_type === "qwen2" ? fields.layer_types ?? [] : [];
  if (!Array.isArray(types) || types.some((type) => type !== "full_attention")) {
    fail("layer_types", types, "supported is full_attention in every layer");
  }
}

/** A field that is absent has its family's value; one that is null means as many as heads. */
function kvHeadsOf(fields: Fields, modelType: ModelType, heads: number): number {
  const field = "num_key_value_heads";
  const absent = field in fields ? heads : defaults[modelType].kvHeads ?? heads;
  const kvHeads = count(fields, field, absent);
  if (heads % kvHeads !== 0) fail(field, kvHeads, `it must divide num_attention_heads = ${heads}`);
  return kvHeads;
}

/** The sliding window: of Mistral, where null means none and absence the family's; others have none here. */
function windowOf(fields: Fields, modelType: ModelType): number {
  const { window } = defaults[modelType];
  if (window === undefined || fields.sliding_window === null) return Infinity;
  return count(fields, "sliding_window", window);
}

/**
 * Checks a parsed config.json.
 *
 * @throws ConfigError that names the field, its value and the rule.
 */
export function parseLlamaConfig(fields: Fields): LlamaConfig {
  const modelType = modelTypes.find((known) => known === fields.model_type);
  if (!modelType) fail("model_type", fields.model_type, `it must be ${modelTypes.join(" or ")}`);
  refuseOthers(fields);
  const heads = count(fields, "num_attention_heads");
  const kvHeads = kvHeadsOf(fields, modelType, heads);
  const hiddenSize = count(fields, "hidden_size");
  const headDim = count(fields, "head_dim", hiddenSize / heads);
  if (headDim % 2 !== 0) fail("head_dim", headDim, "rotary positions need an even size");
  const maxPositions = count(fields, "max_position_embeddings", defaults[modelType].maxPositions);
  const rope = parseRope(fields, { headDim, maxPositions });
  const attentionBias = modelType === "llama" && flag(fields, "attention_bias", false);
  const config: LlamaConfig = {
    modelType,
    vocabSize: count(fields, "vocab_size"),
    hiddenSize,
    intermediateSize: count(fields, "intermediate_size"),
    layers: count(fields, "num_hidden_layers"),
    heads,
    kvHeads,
    headDim,
    rmsNormEps: positive(fields, "rms_norm_eps", 1e-6),
    maxPositions: Math.min(rope.maxPositions, windowOf(fields, modelType)),
    ropeTheta: rope.theta,
    ropeScaling: rope.scaling,
    tieWordEmbeddings: flag(fields, "tie_word_embeddings", false),
    qkvBias: modelType === "qwen2" || attentionBias,
    outputBias: attentionBias,
    mlpBias: modelType === "llama" && flag(fields, "mlp_bias", false),
    quantization: parseQuantization(fields.quantization_config, fail),
  };
  if (!isFiniteRope(config, config.maxPositions)) {
    fail("rope_parameters", fields.rope_scaling ?? fields.rope_parameters, "its frequencies are not finite");
  }
  return config;
}

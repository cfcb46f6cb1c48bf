/**
 * A Hugging Face config.json of GPT-2, checked: every value that shapes the forward is read or refused.
 *
 * @module
 */
import { count, fail, type Fields, flag, layerCount, positive } from "../config_fields.ts";
import type { ModelConfig } from "../family.ts";
import { type Activation, activationNames } from "../operations/mod.ts";
import { parseQuantization } from "../quantization.ts";

/** What a GPT-2 is built from. */
export interface Gpt2Config extends ModelConfig {
  readonly intermediateSize: number;
  readonly layerNormEps: number;
  readonly activation: Activation;
  /** Whether attention's dot products are divided by the square root of a head's size. */
  readonly scalesAttention: boolean;
}

/** A field's name in GPT-2's files, or the name that all models share, which outranks the other. */
function nameOf(fields: Fields, [own, shared]: readonly [own: string, shared: string]): string {
  return shared in fields ? shared : own;
}

/** A count by either of its names. */
function sizeOf(fields: Fields, names: readonly [own: string, shared: string], fallback: number): number {
  return count(fields, nameOf(fields, names), fallback);
}

/** Fields that would change the forward when set, and are not supported. */
function refuseOthers(fields: Fields): void {
  for (const field of ["scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"]) {
    if (flag(fields, field, false)) fail(field, true, "it is not supported");
  }
}

function activationOf(fields: Fields): Activation {
  const { activation_function: name = "gelu_new" } = fields;
  return activationNames.find((known) => known === name) ??
    fail("activation_function", name, `supported are ${activationNames.join(", ")}`);
}

/**
 * Checks a parsed config.json.
 *
 * @throws ConfigError that names the field, its value and the rule.
 */
export function parseGpt2Config(fields: Fields): Gpt2Config {
  refuseOthers(fields);
  const heads = sizeOf(fields, ["n_head", "num_attention_heads"], 12);
  const hiddenSize = sizeOf(fields, ["n_embd", "hidden_size"], 768);
  if (hiddenSize % heads !== 0) fail("n_embd", hiddenSize, `it must be a multiple of n_head = ${heads}`);
  return {
    modelType: "gpt2",
    vocabSize: count(fields, "vocab_size", 50257),
    hiddenSize,
    intermediateSize: count(fields, "n_inner", 4 * hiddenSize),
    layers: layerCount(fields, nameOf(fields, ["n_layer", "num_hidden_layers"]), 12),
    heads,
    kvHeads: heads,
    headDim: hiddenSize / heads,
    layerNormEps: positive(fields, "layer_norm_epsilon", 1e-5),
    maxPositions: sizeOf(fields, ["n_positions", "max_position_embeddings"], 1024),
    activation: activationOf(fields),
    scalesAttention: flag(fields, "scale_attn_weights", true),
    tieWordEmbeddings: flag(fields, "tie_word_embeddings", true),
    quantization: parseQuantization(fields.quantization_config, fail),
  };
}

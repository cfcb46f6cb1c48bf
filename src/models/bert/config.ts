/**
 * A Hugging Face config.json of BERT or RoBERTa, checked: every value that shapes the forward is read or refused.
 *
 * @module
 */
import { count, fail, type Fields, flag, layerCount, positive } from "../config_fields.ts";
import { labelsOf, problemOf } from "../encoder_fields.ts";
import type { ClassifierLinear, EncoderConfig, ModelConfig } from "../family.ts";
import { type Activation, activationNames } from "../operations/mod.ts";
import { parseQuantization } from "../quantization.ts";

/** What a BERT or a RoBERTa is built from. */
export interface BertConfig extends ModelConfig {
  readonly intermediateSize: number;
  readonly layerNormEps: number;
  readonly activation: Activation;
  readonly encoder: EncoderConfig;
}

/** What differs between the two. */
export interface BertKind {
  readonly modelType: "bert" | "roberta";
  readonly vocabSize: number;
  readonly padTokenId: number;
  /** Whether positions begin after the padding token's id. */
  readonly positionsAfterPad: boolean;
  readonly classifier: readonly ClassifierLinear[];
}

/** Fields that would change the forward when set, and are not supported. */
function refuseOthers(fields: Fields): void {
  for (const field of ["is_decoder", "add_cross_attention"]) {
    if (flag(fields, field, false)) fail(field, true, "it is not supported");
  }
  const { position_embedding_type: positions = "absolute" } = fields;
  if (positions !== "absolute") fail("position_embedding_type", positions, 'it must be "absolute"');
}

/** Positions of sequences: the first one's number, and which token is not counted. */
function positionsOf(fields: Fields, { positionsAfterPad, padTokenId }: BertKind) {
  if (!positionsAfterPad) return { firstPosition: 0 };
  const { pad_token_id: pad = padTokenId } = fields;
  if (typeof pad !== "number" || !Number.isSafeInteger(pad) || pad < 0) {
    return fail("pad_token_id", pad, "it must be a token's id: positions are counted from it on");
  }
  return { firstPosition: pad + 1, uncountedToken: pad };
}

/**
 * Checks a parsed config.json.
 *
 * @throws ConfigError that names the field, its value and the rule.
 */
export function parseBertConfig(fields: Fields, kind: BertKind): BertConfig {
  refuseOthers(fields);
  const heads = count(fields, "num_attention_heads", 12), hiddenSize = count(fields, "hidden_size", 768);
  if (hiddenSize % heads !== 0) {
    fail("hidden_size", hiddenSize, `it must be a multiple of num_attention_heads = ${heads}`);
  }
  const { hidden_act: name = "gelu" } = fields;
  const positions = positionsOf(fields, kind);
  const table = count(fields, "max_position_embeddings", 512);
  if (table <= positions.firstPosition) {
    fail(
      "max_position_embeddings",
      table,
      `it must be more than ${positions.firstPosition}, the first position`,
    );
  }
  return {
    modelType: kind.modelType,
    vocabSize: count(fields, "vocab_size", kind.vocabSize),
    hiddenSize,
    intermediateSize: count(fields, "intermediate_size", 3072),
    layers: layerCount(fields, "num_hidden_layers", 12),
    heads,
    kvHeads: heads,
    headDim: hiddenSize / heads,
    layerNormEps: positive(fields, "layer_norm_eps", 1e-12),
    maxPositions: table - positions.firstPosition,
    activation: activationNames.find((known) => known === name) ??
      fail("hidden_act", name, `supported are ${activationNames.join(", ")}`),
    tieWordEmbeddings: false,
    quantization: parseQuantization(fields.quantization_config, fail),
    encoder: {
      input: "tokens",
      types: count(fields, "type_vocab_size", 2),
      ...positions,
      classifier: kind.classifier,
      labels: labelsOf(fields),
      problem: problemOf(fields),
    },
  };
}

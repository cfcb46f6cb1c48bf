/**
 * A Hugging Face config.json of the Llama family, checked: every value that shapes the forward is read or refused.
 *
 * @module
 */
import { count, fail, type Fields, flag, layerCount, positive } from "../config_fields.ts";
import type { ModelConfig } from "../family.ts";
import { type Activation, activationNames } from "../operations/mod.ts";
import { parseQuantization } from "../quantization.ts";
import { isFiniteRope } from "../rope.ts";
import { parseRope, parseRopes, type RopeConfig, type RopeScaling } from "../rope_config.ts";
import { type LayerKind, layerKinds } from "./layers.ts";
import {
  type HasBias,
  type ModelType,
  modelTypes,
  type NormPlaces,
  type QkNormOver,
  type TypeRules,
  typeRules,
} from "./types.ts";

export { modelTypes } from "./types.ts";

/** What a Llama-family decoder is built from. */
export interface LlamaConfig extends ModelConfig {
  readonly modelType: ModelType;
  readonly intermediateSize: number;
  readonly activation: Activation;
  readonly rmsNormEps: number;
  /** Longest sequence: `max_position_embeddings`, or what rotary scaling stretches it to. */
  readonly maxPositions: number;
  /** Elements of a head that are turned: all, or the first. */
  readonly rotaryDim: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  /** Rotary settings of layers with sliding windows, where these have their own. */
  readonly localRope?: RopeConfig;
  readonly layerKinds: readonly LayerKind[];
  /** Biases of q, k and v. */
  readonly qkvBias: boolean;
  /** Bias of o. */
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** q, k and v are one linear, and so are gate and up. */
  readonly fused: boolean;
  readonly norms: NormPlaces;
  /** What is added to norms' weights. */
  readonly normOffset: number;
  readonly qkNorm?: QkNormOver;
  /** What attention's dot products are multiplied by. */
  readonly attentionScale: number;
  readonly embeddingScale: number;
  /** What a branch is multiplied by before it is added to the stream. */
  readonly residualScale: number;
  readonly logitScale: number;
  /** What attention's dot products, and logits, are capped to. */
  readonly attentionSoftcap?: number;
  readonly logitSoftcap?: number;
}

function activationOf(fields: Fields, { activation = ["hidden_act", "silu"] }: TypeRules): Activation {
  const [field, fallback] = activation, { [field]: name = fallback } = fields;
  return activationNames.find((known) => known === name) ??
    fail(field, name, `supported are ${activationNames.join(", ")}`);
}

/** A field that is absent has its type's value; one that is null means as many as heads. */
function kvHeadsOf(fields: Fields, { kvHeads: fallback }: TypeRules, heads: number): number {
  const field = "num_key_value_heads";
  const absent = field in fields ? heads : fallback ?? heads;
  const kvHeads = count(fields, field, absent);
  if (heads % kvHeads !== 0) fail(field, kvHeads, `it must divide num_attention_heads = ${heads}`);
  return kvHeads;
}

function biasOf(fields: Fields, rule: HasBias = false, field: string): boolean {
  return rule === "flag" ? flag(fields, field, false) : rule;
}

/** A number above 0, or none where the field is null. */
function capOf(fields: Fields, field: string, fallback: number | null): number | undefined {
  const { [field]: value = fallback } = fields;
  return value === null ? undefined : positive({ [field]: value }, field);
}

/** What numbers are multiplied by, and capped to, on their way. */
function scalesOf(
  fields: Fields,
  { isGemma, hasQueryScale, softcaps, hasMultipliers }: TypeRules,
  { hiddenSize, headDim }: { readonly hiddenSize: number; readonly headDim: number },
) {
  const multiplier = (field: string): number => hasMultipliers ? positive(fields, field, 1) : 1;
  const queryScale = hasQueryScale ? positive(fields, "query_pre_attn_scalar", 256) : headDim;
  const { attention, logits = null } = softcaps ?? {};
  return {
    attentionScale: hasMultipliers ? multiplier("attention_multiplier") : 1 / Math.sqrt(queryScale),
    embeddingScale: isGemma ? Math.sqrt(hiddenSize) : multiplier("embedding_multiplier"),
    residualScale: multiplier("residual_multiplier"),
    logitScale: 1 / multiplier("logits_scaling"),
    attentionSoftcap: attention === undefined
      ? undefined
      : capOf(fields, "attn_logit_softcapping", attention),
    logitSoftcap: softcaps ? capOf(fields, "final_logit_softcapping", logits) : undefined,
  };
}

/** Sizes of heads; a head has an even number of elements, for it is turned by pairs. */
function headsOf(fields: Fields, rules: TypeRules, hiddenSize: number) {
  const heads = count(fields, "num_attention_heads");
  const kvHeads = kvHeadsOf(fields, rules, heads);
  const headDim = count(fields, "head_dim", rules.headDim ?? hiddenSize / heads);
  if (headDim % 2 !== 0) fail("head_dim", headDim, "rotary positions need an even size");
  return { heads, kvHeads, headDim };
}

/** Names of rotary types in Phi-3's files. */
const phiTypes = { default: "default", longrope: "longrope", su: "longrope", yarn: "longrope" } as const;

/** Rotary settings: of all layers, or of those with sliding windows, too. */
function ropesOf(fields: Fields, { hasLocalRope, isPhi, theta, ...rules }: TypeRules, headDim: number) {
  const maxPositions = count(fields, "max_position_embeddings", rules.maxPositions);
  const context = { headDim, maxPositions, theta };
  if (hasLocalRope) {
    const { global, local } = parseRopes(fields, context);
    return { rope: global, localRope: local };
  }
  if (!isPhi) return { rope: parseRope(fields, context) };
  // The class has 4096 of its own, which goes before what the rotary settings say.
  const own = { original_max_position_embeddings: 4096, ...fields };
  return { rope: parseRope(own, { ...context, isPartial: true, types: phiTypes }) };
}

/**
 * Checks a parsed config.json.
 *
 * @throws ConfigError that names the field, its value and the rule.
 */
export function parseLlamaConfig(fields: Fields): LlamaConfig {
  const modelType = modelTypes.find((known) => known === fields.model_type);
  if (!modelType) fail("model_type", fields.model_type, `it must be ${modelTypes.join(" or ")}`);
  const rules = typeRules[modelType];
  if (rules.isGemma && flag(fields, "use_bidirectional_attention", false)) {
    fail("use_bidirectional_attention", true, "it is not supported");
  }
  const hiddenSize = count(fields, "hidden_size"), layers = layerCount(fields, "num_hidden_layers");
  const { heads, kvHeads, headDim } = headsOf(fields, rules, hiddenSize);
  const { rope, localRope } = ropesOf(fields, rules, headDim);
  const config: LlamaConfig = {
    modelType,
    vocabSize: count(fields, "vocab_size"),
    hiddenSize,
    intermediateSize: count(fields, "intermediate_size"),
    layers,
    heads,
    kvHeads,
    headDim,
    activation: activationOf(fields, rules),
    rmsNormEps: positive(fields, "rms_norm_eps", rules.normEps ?? 1e-6),
    maxPositions: rope.maxPositions,
    rotaryDim: rope.rotaryDim,
    ropeTheta: rope.theta,
    ropeScaling: rope.scaling,
    localRope,
    layerKinds: layerKinds(fields, rules, layers),
    rerunBeyond: rules.isPhi && rope.scaling.type === "longrope"
      ? rope.scaling.originalMaxPositions
      : undefined,
    tieWordEmbeddings: flag(fields, "tie_word_embeddings", rules.tied ?? false),
    qkvBias: biasOf(fields, rules.qkvBias, "attention_bias"),
    outputBias: biasOf(fields, rules.outputBias, "attention_bias"),
    mlpBias: biasOf(fields, rules.mlpBias, "mlp_bias"),
    fused: rules.fused ?? false,
    norms: rules.norms ?? "before",
    normOffset: rules.isGemma ? 1 : 0,
    qkNorm: rules.qkNorm,
    ...scalesOf(fields, rules, { hiddenSize, headDim }),
    quantization: parseQuantization(fields.quantization_config, fail),
  };
  const ropes = [globalRope(config), ...localRope ? [localRope] : []];
  if (!ropes.every((rope) => isFiniteRope(rope, config.maxPositions))) {
    fail("rope_parameters", fields.rope_scaling ?? fields.rope_parameters, "its frequencies are not finite");
  }
  return config;
}

/** The rotary settings of layers that have none of their own. */
export function globalRope({ rotaryDim, ropeTheta, ropeScaling }: LlamaConfig): RopeConfig {
  return { headDim: rotaryDim, ropeTheta, ropeScaling };
}

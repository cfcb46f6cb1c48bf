/**
 * What models of the Llama family differ in by `model_type`, and what transformers 5 takes for fields that a config.json
 * leaves out.
 *
 * @module
 */
import type { Activation } from "../operations/mod.ts";

/** Values of `model_type`. */
export const modelTypes = [
  "llama",
  "mistral",
  "qwen2",
  "qwen3",
  "phi3",
  "smollm3",
  "granite",
  "olmo2",
  "gemma",
  "gemma2",
  "gemma3_text",
] as const;

/** A `model_type`. */
export type ModelType = typeof modelTypes[number];

/** Which linears have biases: by the config's flag, always, or never. */
export type HasBias = "flag" | boolean;

/** Where a layer's norms are: before attention and MLP, after both, or both. */
export type NormPlaces = "before" | "after" | "both";

/** How q and k are normalised: each head by itself, or all heads as one. */
export type QkNormOver = "head" | "width";

/** Which layers have a sliding window. */
export type WindowRule =
  /** All, where there is a `sliding_window`. */
  | "every layer"
  /** With `use_sliding_window` those from `max_window_layers` on, or as `layer_types` says. */
  | "upper layers"
  /** With `use_sliding_window` those without rotary positions, or as `layer_types` says. */
  | "layers without rope"
  /** All but each `sliding_window_pattern`th, or as `layer_types` says. */
  | "pattern";

/** What a model type has beside or in place of Llama's. */
export interface TypeRules {
  readonly maxPositions: number;
  /** Where `num_key_value_heads` is absent; null there means as many as heads. */
  readonly kvHeads?: number;
  /** Where `head_dim` is absent; else hidden_size / num_attention_heads. */
  readonly headDim?: number;
  readonly normEps?: number;
  readonly theta?: number;
  readonly tied?: boolean;
  /** The field of the activation, and its default. */
  readonly activation?: readonly [field: string, fallback: Activation];
  readonly qkvBias?: HasBias;
  readonly outputBias?: HasBias;
  readonly mlpBias?: HasBias;
  /** q, k and v are one linear, and so are gate and up. */
  readonly fused?: boolean;
  readonly norms?: NormPlaces;
  /** Norms multiply by 1 + weight, and the embedding by the square root of its width. */
  readonly isGemma?: boolean;
  readonly qkNorm?: QkNormOver;
  readonly window?: WindowRule;
  /** `sliding_window` where it is absent. */
  readonly windowSize?: number;
  /** Each so many layers one has no sliding window. */
  readonly windowPattern?: number;
  /** Each `no_rope_layer_interval`th layer has no rotary positions, or as `no_rope_layers` says. */
  readonly hasNoRopeLayers?: boolean;
  /** What Phi-3's rotary settings differ in: `partial_rotary_factor` is read, and old names mean longrope. */
  readonly isPhi?: boolean;
  /** `rope_parameters` has settings for each type of layer. */
  readonly hasLocalRope?: boolean;
  /** Dot products are divided by the square root of `query_pre_attn_scalar`. */
  readonly hasQueryScale?: boolean;
  /** Caps of dot products and of logits, where their fields are absent; null where there are none. */
  readonly softcaps?: { readonly attention?: number; readonly logits: number | null };
  /** PEFT knows which linears to adapt by default. */
  readonly hasPeftTargets?: boolean;
  /** `embedding_multiplier` and its like. */
  readonly hasMultipliers?: boolean;
}

const gemma = {
  hasPeftTargets: true,
  headDim: 256,
  tied: true,
  isGemma: true,
  qkvBias: "flag",
  outputBias: "flag",
} as const;

/** See the module's documentation. */
export const typeRules: Readonly<Record<ModelType, TypeRules>> = {
  llama: { maxPositions: 2048, qkvBias: "flag", outputBias: "flag", mlpBias: "flag", hasPeftTargets: true },
  mistral: {
    maxPositions: 4096 * 32,
    kvHeads: 8,
    window: "every layer",
    windowSize: 4096,
    hasPeftTargets: true,
  },
  qwen2: {
    maxPositions: 32768,
    kvHeads: 32,
    qkvBias: true,
    window: "upper layers",
    windowSize: 4096,
    hasPeftTargets: true,
  },
  qwen3: {
    hasPeftTargets: true,
    maxPositions: 32768,
    kvHeads: 32,
    headDim: 128,
    qkvBias: "flag",
    outputBias: "flag",
    qkNorm: "head",
    window: "upper layers",
    windowSize: 4096,
  },
  phi3: { maxPositions: 4096, normEps: 1e-5, fused: true, window: "every layer", isPhi: true },
  smollm3: {
    maxPositions: 32768,
    kvHeads: 4,
    theta: 2e6,
    tied: true,
    qkvBias: "flag",
    outputBias: "flag",
    mlpBias: "flag",
    window: "layers without rope",
    hasNoRopeLayers: true,
  },
  granite: {
    maxPositions: 2048,
    qkvBias: "flag",
    outputBias: "flag",
    mlpBias: "flag",
    hasMultipliers: true,
  },
  olmo2: {
    maxPositions: 2048,
    normEps: 1e-5,
    qkvBias: "flag",
    outputBias: "flag",
    norms: "after",
    qkNorm: "width",
  },
  gemma: { ...gemma, maxPositions: 8192, kvHeads: 16, activation: ["hidden_act", "gelu_pytorch_tanh"] },
  gemma2: {
    ...gemma,
    maxPositions: 8192,
    kvHeads: 4,
    activation: ["hidden_activation", "gelu_pytorch_tanh"],
    norms: "both",
    window: "pattern",
    windowSize: 4096,
    windowPattern: 2,
    hasQueryScale: true,
    softcaps: { attention: 50, logits: 30 },
  },
  gemma3_text: {
    ...gemma,
    maxPositions: 131072,
    kvHeads: 4,
    activation: ["hidden_activation", "gelu_pytorch_tanh"],
    norms: "both",
    qkNorm: "head",
    window: "pattern",
    windowSize: 4096,
    windowPattern: 6,
    hasLocalRope: true,
    hasQueryScale: true,
    // attn_logit_softcapping is not read: no code of transformers uses it.
    softcaps: { logits: null },
  },
};

/**
 * The Llama family's models as GGUF files: see `Architecture`.
 *
 * @module
 */
import type { Architecture } from "../gguf/architecture.ts";

const decoderKeys = {
  block_count: "num_hidden_layers",
  context_length: "max_position_embeddings",
  embedding_length: "hidden_size",
  feed_forward_length: "intermediate_size",
  "attention.head_count": "num_attention_heads",
  "attention.head_count_kv": "num_key_value_heads",
  "attention.key_length": "head_dim",
  "attention.layer_norm_rms_epsilon": "rms_norm_eps",
  "rope.freq_base": "rope_theta",
} as const;

const decoder = {
  fields: decoderKeys,
  optional: ["attention.head_count_kv", "attention.key_length", "rope.freq_base"],
  tensors: { token_embd: "model.embed_tokens", output_norm: "model.norm", output: "lm_head" },
  layers: "model.layers.",
  layerTensors: {
    attn_norm: "input_layernorm",
    attn_q: "self_attn.q_proj",
    attn_k: "self_attn.k_proj",
    attn_v: "self_attn.v_proj",
    attn_output: "self_attn.o_proj",
    ffn_norm: "post_attention_layernorm",
    ffn_gate: "mlp.gate_proj",
    ffn_up: "mlp.up_proj",
    ffn_down: "mlp.down_proj",
  },
} as const;

/** Norms of each head's q and k. */
const headNorms = { attn_q_norm: "self_attn.q_norm", attn_k_norm: "self_attn.k_norm" } as const;

/** The linears whose rows llama.cpp interleaves, where it turns neighbours. */
const interleaved = {
  "self_attn.q_proj": "attention.head_count",
  "self_attn.k_proj": "attention.head_count_kv",
} as const;

/** Norms after attention and the MLP. */
const normsAfter = {
  post_attention_norm: "post_attention_layernorm",
  post_ffw_norm: "post_feedforward_layernorm",
} as const;

/** Files have 1 + weight of Gemma's norms. */
const gemma = { ...decoder, normOffset: 1 } as const;

const gemmaTensors = {
  ...decoder.layerTensors,
  ...normsAfter,
  ffn_norm: "pre_feedforward_layernorm",
} as const;

/**
 * What dot products are divided by the square root of: the size of a head, and in the models of 27B numbers, which have so
 * many layers, the part of the stream that a head has. Files say neither.
 */
const queryScale = (layersOf27B: number): Architecture["derived"] => (fields) => ({
  query_pre_attn_scalar: fields.num_hidden_layers === layersOf27B
    ? Math.floor(fields.hidden_size / fields.num_attention_heads)
    : fields.head_dim ?? fields.hidden_size / fields.num_attention_heads,
});

/** By `general.architecture`; Mistral's files have Llama's. */
export const llamaGguf: Readonly<Record<string, Architecture>> = {
  llama: {
    ...decoder,
    modelType: "llama",
    flags: { attention_bias: "attn_q.bias", mlp_bias: "ffn_gate.bias" },
    interleaved,
  },
  qwen2: { ...decoder, modelType: "qwen2" },
  qwen3: {
    ...decoder,
    modelType: "qwen3",
    flags: { attention_bias: "attn_q.bias" },
    layerTensors: { ...decoder.layerTensors, ...headNorms },
  },
  phi3: {
    ...decoder,
    modelType: "phi3",
    fields: {
      ...decoderKeys,
      "attention.sliding_window": "sliding_window",
      "rope.scaling.original_context_length": "original_max_position_embeddings",
    },
    optional: [...decoder.optional, "attention.sliding_window", "rope.scaling.original_context_length"],
    hasLongRope: true,
    isPartlyTurned: true,
    derived(
      { head_dim: given, hidden_size: width, num_attention_heads: heads, sliding_window: window = 0 },
      at,
    ) {
      const size = given ?? width / heads, turned = at("rope.dimension_count") ?? size;
      return {
        sliding_window: window === 0 ? null : window,
        // The config has the part, whose product is rounded down: half an element more makes up for a part's own rounding.
        partial_rotary_factor: turned === size ? 1 : (turned + 0.5) / size,
      };
    },
    layerTensors: {
      attn_norm: "input_layernorm",
      attn_qkv: "self_attn.qkv_proj",
      attn_output: "self_attn.o_proj",
      ffn_norm: "post_attention_layernorm",
      ffn_up: "mlp.gate_up_proj",
      ffn_down: "mlp.down_proj",
    },
  },
  // Files say nothing of layers without rotary positions: these are each fourth, as by the config's default.
  smollm3: {
    ...decoder,
    modelType: "smollm3",
    optional: ["attention.head_count_kv", "attention.key_length"],
    flags: { attention_bias: "attn_q.bias", mlp_bias: "ffn_gate.bias" },
    interleaved,
  },
  granite: {
    ...decoder,
    modelType: "granite",
    fields: {
      ...decoderKeys,
      "attention.scale": "attention_multiplier",
      embedding_scale: "embedding_multiplier",
      residual_scale: "residual_multiplier",
      logit_scale: "logits_scaling",
    },
    optional: [...decoder.optional, "embedding_scale", "residual_scale", "logit_scale"],
    flags: { attention_bias: "attn_q.bias", mlp_bias: "ffn_gate.bias" },
    interleaved,
  },
  olmo2: {
    ...decoder,
    modelType: "olmo2",
    flags: { attention_bias: "attn_q.bias" },
    layerTensors: Object.fromEntries(
      Object.entries({ ...decoder.layerTensors, ...headNorms, ...normsAfter })
        .filter(([name]) => name !== "attn_norm" && name !== "ffn_norm"),
    ),
  },
  gemma: { ...gemma, modelType: "gemma" },
  gemma2: {
    ...gemma,
    modelType: "gemma2",
    fields: {
      ...decoderKeys,
      "attention.sliding_window": "sliding_window",
      attn_logit_softcapping: "attn_logit_softcapping",
      final_logit_softcapping: "final_logit_softcapping",
    },
    optional: [
      ...[...decoder.optional, "attention.sliding_window", "attn_logit_softcapping"],
      "final_logit_softcapping",
    ],
    derived: queryScale(46),
    layerTensors: gemmaTensors,
  },
  gemma3: {
    ...gemma,
    modelType: "gemma3_text",
    fields: {
      ...decoderKeys,
      "attention.sliding_window": "sliding_window",
      "rope.freq_base_swa": "rope_local_base_freq",
      final_logit_softcapping: "final_logit_softcapping",
    },
    optional: [
      ...["attention.head_count_kv", "attention.key_length", "rope.freq_base_swa"],
      "final_logit_softcapping",
    ],
    derived: queryScale(62),
    layerTensors: { ...gemmaTensors, ...headNorms },
  },
};

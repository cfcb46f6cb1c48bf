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

/** By `general.architecture`; Mistral's files have Llama's. */
export const llamaGguf: Readonly<Record<string, Architecture>> = {
  llama: {
    ...decoder,
    modelType: "llama",
    flags: { attention_bias: "attn_q.bias", mlp_bias: "ffn_gate.bias" },
    interleaved: {
      "self_attn.q_proj": "attention.head_count",
      "self_attn.k_proj": "attention.head_count_kv",
    },
  },
  qwen2: { ...decoder, modelType: "qwen2" },
  qwen3: {
    ...decoder,
    modelType: "qwen3",
    flags: { attention_bias: "attn_q.bias" },
    layerTensors: { ...decoder.layerTensors, ...headNorms },
  },
};

/**
 * GPT-2 as GGUF files: see `Architecture`.
 *
 * @module
 */
import type { Architecture } from "../gguf/architecture.ts";

/** By `general.architecture`. */
export const gpt2Gguf: Readonly<Record<string, Architecture>> = {
  gpt2: {
    modelType: "gpt2",
    fields: {
      block_count: "n_layer",
      context_length: "n_positions",
      embedding_length: "n_embd",
      feed_forward_length: "n_inner",
      "attention.head_count": "n_head",
      "attention.layer_norm_epsilon": "layer_norm_epsilon",
    },
    optional: [],
    constants: { activation_function: "gelu_new" },
    tensors: {
      token_embd: "transformer.wte",
      position_embd: "transformer.wpe",
      output_norm: "transformer.ln_f",
      output: "lm_head",
    },
    layers: "transformer.h.",
    layerTensors: {
      attn_norm: "ln_1",
      attn_qkv: "attn.c_attn",
      attn_output: "attn.c_proj",
      ffn_norm: "ln_2",
      ffn_up: "mlp.c_fc",
      ffn_down: "mlp.c_proj",
    },
  },
};

/**
 * What GGUF files of an architecture say in their own words: keys of metadata, and names of tensors.
 *
 * @module
 */

/** An architecture of llama.cpp, as a model type of Hugging Face. */
export interface Architecture {
  /** config.json's `model_type`. */
  readonly modelType: string;
  /** Fields of config.json by key, without the architecture's name and its dot. */
  readonly fields: Readonly<Record<string, string>>;
  /** Keys among them that a file may lack. */
  readonly optional: readonly string[];
  /** Fields that no key has. */
  readonly constants?: Readonly<Record<string, unknown>>;
  /** Flags of config.json by tensors of the first layer: true where the file has the tensor. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Weights outside of the layers, by the names of files: the first part of both names. */
  readonly tensors: Readonly<Record<string, string>>;
  /** What the names of a layer's weights begin with, before its number. */
  readonly layers: string;
  /** Weights of a layer, in the same way; files have `blk.<number>.` before them. */
  readonly layerTensors: Readonly<Record<string, string>>;
  /**
   * Linears whose rows files have in another order: of each head, row 2 j is row j, and 2 j + 1 is row j + headDim / 2,
   * since llama.cpp turns neighbours. By the model's names; with the key of the number of heads.
   */
  readonly interleaved?: Readonly<Record<string, string>>;
}

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

/** By `general.architecture`. */
export const architectures: Readonly<Record<string, Architecture>> = {
  // Mistral's files have this architecture, too.
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

/**
 * What is mutated, and the tests that must notice.
 *
 * @module
 */

/** A folder to change, and the tests that may notice: quick files, that need no GPU. */
export interface Area {
  readonly folder: string;
  readonly tests: readonly string[];
  /** Tests that take too long to run for every fault: only what no other notices, in files below `reach`, is left to them. */
  readonly slow?: { readonly tests: RegExp; readonly reach: string };
}

/** By the folder's name. */
export const areas: Readonly<Record<string, Area>> = {
  adapters: {
    folder: "src/adapters",
    tests: [
      "adapter_catalog",
      "adapter_files",
      "adapter_rules",
      "adapter_store",
      "adapters",
      "bank",
      "engine_adapters",
      "folded_files",
      "folded_methods",
      "merging",
      "methods",
      "methods_golden",
      "one_linear",
      "phases",
      "registry",
      "train_api",
      "training",
      "training_round_trip",
    ],
  },
  engine: {
    folder: "src/engine",
    tests: [
      "batch_engine",
      "detokenizer_bytes",
      "engine_adapters",
      "engine_rules",
      "engine_sequences",
      "logprobs",
      "merging",
      "models",
      "phases",
      "plans",
      "rope",
      "runner",
      "step_schedule",
      "text",
      "trace",
    ],
  },
  models: {
    folder: "src/models",
    tests: [
      "adapter_files",
      "checkpoint",
      "engine_adapters",
      "families",
      "family_files",
      "gpt2",
      "graph",
      "model_edges",
      "model_files",
      "model_types",
      "models",
      "named_templates",
      "plans",
      "projections",
      "quantized_model",
      "rope",
      "rope_edges",
      "special_tokens",
      "text",
      "tokenizer",
      "tokenizer_bounds",
      "tokenizer_edges",
      "tokenizer_fields",
      "tokenizer_parts",
      "tokenizer_pauses",
      "tokenizers_golden",
    ],
    slow: {
      tests: /^(fewestTokens\(\) is never above|encode\(\) of a long text)/,
      reach: "src/models/tokenizer/",
    },
  },
  safetensors: {
    folder: "src/safetensors",
    tests: ["safetensors_edges", "safetensors"],
  },
  server: {
    folder: "src/server",
    tests: [
      "server_access",
      "server_edges",
      "server_fields",
      "server_limits",
      "server_rules",
      "server",
      "logprobs",
    ],
  },
};

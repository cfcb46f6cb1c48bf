/**
 * What is mutated, and the tests that must notice.
 *
 * @module
 */

/** A folder to change, and the tests that may notice: quick files, that need no GPU. */
export interface Area {
  readonly folder: string;
  readonly tests: readonly string[];
  /** Names of tests in them that take too long. */
  readonly leftOut?: RegExp;
}

/** By the folder's name. */
export const areas: Readonly<Record<string, Area>> = {
  adapters: {
    folder: "src/adapters",
    tests: [
      "adapter_files",
      "adapter_store",
      "adapters",
      "bank",
      "engine_adapters",
      "merging",
      "registry",
      "torch_random",
      "train_api",
      "training_records",
      "training_round_trip",
    ],
    leftOut: /^randperm (gives every list|follows torch)/,
  },
  engine: {
    folder: "src/engine",
    tests: [
      "batch_engine",
      "engine_adapters",
      "logprobs",
      "merging",
      "models",
      "runner",
      "step_schedule",
      "text",
      "trace",
    ],
  },
  models: {
    folder: "src/models",
    tests: [
      "checkpoint",
      "engine_adapters",
      "model_files",
      "models",
      "projections",
      "quantized_model",
      "rope",
      "special_tokens",
      "text",
      "tokenizer",
      "tokenizers_golden",
    ],
    leftOut: /^(fewestTokens\(\) is never above|encode\(\) of a long text)/,
  },
  safetensors: {
    folder: "src/safetensors",
    tests: ["safetensors_edges", "safetensors"],
  },
  server: {
    folder: "src/server",
    tests: ["server_access", "server_fields", "server_limits", "server", "logprobs"],
  },
};

/**
 * GPT-2, with its language model's head.
 *
 * @module
 */
import type { Family } from "../family.ts";
import { type Gpt2Config, parseGpt2Config } from "./config.ts";
import { gpt2Gguf } from "./gguf.ts";
import { type Gpt2Weights, gpt2Weights } from "./weights.ts";

/** PEFT's default targets, where they are not `c_attn`. */
const ownTargets = new Map([["FOURIERFT", ["mlp.c_proj"]], ["IA3", ["c_attn", "mlp.c_proj"]]]);

/** See the module's documentation. */
export const gpt2: Family<Gpt2Config, Gpt2Weights> = {
  modelTypes: ["gpt2"],
  names: {
    prefix: "transformer.",
    parts: ["wte", "wpe", "h", "ln_f"],
    embedding: "transformer.wte.weight",
    head: "lm_head.weight",
    gguf: gpt2Gguf,
    // The causal mask.
    buffers: /\.attn\.(bias|masked_bias)$/,
    // All but the head are transformers' Conv1D.
    isTransposed: (path) => /\.(c_attn|c_proj|c_fc)$/.test(path),
  },
  parse: parseGpt2Config,
  weights: gpt2Weights,
  forward: async () => (await import("./forward.ts")).gpt2Forward,
  targets: (_, peftType) => ownTargets.get(peftType) ?? ["c_attn"],
};

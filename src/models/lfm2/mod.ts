/**
 * LFM2: decoders of short convolutions and attention.
 *
 * @module
 */
import type { Family } from "../family.ts";
import { type Lfm2Config, parseLfm2Config } from "./config.ts";
import { type Lfm2Weights, lfm2Weights } from "./weights.ts";

/** See the module's documentation. */
export const lfm2: Family<Lfm2Config, Lfm2Weights> = {
  modelTypes: ["lfm2"],
  names: {
    prefix: "model.",
    parts: ["embed_tokens", "layers", "embedding_norm"],
    embedding: "model.embed_tokens.weight",
    head: "lm_head.weight",
  },
  parse: parseLfm2Config,
  weights: lfm2Weights,
  forward: async () => (await import("./forward.ts")).lfm2Forward,
};

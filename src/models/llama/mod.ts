/**
 * The Llama family: Llama, and decoders that differ from it by what their config says; `types.ts` lists them.
 *
 * @module
 */
import { widen } from "../../../kernels/half.ts";
import type { Family, UnreadTensors } from "../family.ts";
import { plainFrequencies, ropeFrequencies } from "../rope.ts";
import { globalRope, type LlamaConfig, modelTypes, parseLlamaConfig } from "./config.ts";
import { llamaGguf } from "./gguf.ts";
import { typeRules } from "./types.ts";
import { type LlamaWeights, llamaWeights } from "./weights.ts";

/**
 * Old files have rotary frequencies, which transformers does not read: they are compared. Files of models with scaling have
 * the frequencies before it, or after.
 */
const unread: UnreadTensors<LlamaConfig> = {
  names: /(^|\.)rotary_emb\.inv_freq$/,
  differs(config, name, { data, dtype }) {
    const found = widen(data, dtype);
    const near = (f: number, i: number): boolean => Math.abs(f - found[i]) <= 1e-2 * f + 1e-6;
    const rope = globalRope(config), known = [ropeFrequencies(rope), plainFrequencies(rope)];
    if (known.some((expected) => expected.length === found.length && expected.every(near))) return undefined;
    return `weight "${name}" is not read: its frequencies differ from those of config.json, which are used`;
  },
};

/** See the module's documentation. */
export const llama: Family<LlamaConfig, LlamaWeights> = {
  modelTypes,
  names: {
    prefix: "model.",
    parts: ["embed_tokens", "layers", "norm"],
    embedding: "model.embed_tokens.weight",
    head: "lm_head.weight",
    gguf: llamaGguf,
  },
  parse: parseLlamaConfig,
  weights: llamaWeights,
  forward: async () => (await import("./forward.ts")).llamaForward,
  unread,
  targets({ modelType }, peftType) {
    if (!typeRules[modelType].hasPeftTargets) return undefined;
    if (peftType !== "IA3") return ["q_proj", "v_proj"];
    return [modelType === "llama" || modelType === "mistral" ? "k_proj" : "q_proj", "v_proj", "down_proj"];
  },
};

/**
 * Qwen3.5's decoder: alone, and as the part for text of a model with an encoder of images. Images are not computed.
 *
 * @module
 */
import type { Family } from "../family.ts";
import { parseQwen35Config, type Qwen35Config, type Qwen35Type } from "./config.ts";
import { decoderAt, type Qwen35Weights, qwen35Weights } from "./weights.ts";

/** The decoder's names in files and adapters, whichever of the two models they were saved from. */
const named = (path: string, type: Qwen35Type): string =>
  path.replace(/^model\.(language_model\.)?(?=(embed_tokens|layers|norm)\b)/, decoderAt[type]);

/** A family by its `model_type`. */
function familyOf(type: Qwen35Type, parts: readonly string[]): Family<Qwen35Config, Qwen35Weights> {
  return {
    modelTypes: [type],
    names: {
      prefix: "model.",
      parts,
      embedding: `${decoderAt[type]}embed_tokens.weight`,
      head: "lm_head.weight",
      rename: (name) => named(name, type),
    },
    parse: parseQwen35Config,
    weights: qwen35Weights,
    forward: async () => (await import("./forward.ts")).qwen35Forward,
    adaptedPath: (path) => named(path, type),
    // The encoder of images, and layers that draft further tokens: as in transformers, a text needs neither.
    unread: { names: /^(model\.visual|mtp)\./ },
  };
}

/** The decoder alone. */
export const qwen35Text = familyOf("qwen3_5_text", ["embed_tokens", "layers", "norm"]);

/** The decoder of a model of images and texts. */
export const qwen35 = familyOf("qwen3_5", ["language_model", "visual"]);

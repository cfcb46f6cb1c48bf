/**
 * Trainable tokens, as PEFT writes them: an adapter has rows of an embedding of its own, and of the head where that is tied.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { refuseUnknown } from "../fields.ts";
import type { AdapterFiles, Method } from "../method.ts";
import { type Replacement, tableRows, trainedTokens } from "../replacements.ts";

function tokens({ config, tensors }: AdapterFiles): Map<string, Replacement> {
  const made = new Map<string, Replacement>();
  for (const [name, t] of tensors) {
    const embedding = trainedTokens(name);
    if (embedding === undefined) {
      throw new ConfigError(
        `Cannot read adapter tensor "${name}" as TRAINABLE_TOKENS: only base_model.model.<embedding>.trainable_tokens_delta ` +
          "is supported",
      );
    }
    made.set(embedding, tableRows({ name, t }, { config, field: "token_indices" }));
  }
  return made;
}

/** See the module's documentation. */
export const trainableTokens: Method = {
  name: "trainable tokens",
  peftType: "TRAINABLE_TOKENS",
  checkConfig: (config) => refuseUnknown(config, { known: ["token_indices", "init_weights"] }),
  read(files) {
    this.checkConfig(files.config);
    return new Map();
  },
  replaces: tokens,
};

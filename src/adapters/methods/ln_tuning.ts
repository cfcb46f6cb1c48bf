/**
 * LN tuning (Zhao et al. 2023, arXiv 2312.11420) as PEFT writes it: an adapter has the model's norms, trained.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { refuseUnknown } from "../fields.ts";
import type { AdapterFiles, Method } from "../method.ts";
import { finiteFloats } from "../numbers.ts";
import type { Replacement } from "../replacements.ts";

function norms({ tensors }: AdapterFiles): Map<string, Replacement> {
  const made = new Map<string, Replacement>();
  for (const [name, data] of tensors) {
    const [, path, part] = /^base_model\.model\.(.+)\.ln_tuning_layers\.(weight|bias)$/.exec(name) ?? [];
    if (path === undefined) {
      throw new ConfigError(
        `Cannot read adapter tensor "${name}" as LN_TUNING: only base_model.model.<norm>.ln_tuning_layers.weight and .bias ` +
          "are supported",
      );
    }
    finiteFloats(name, data);
    made.set(`${path}.${part}`, { kind: "whole", tensor: name, data });
  }
  return made;
}

/** See the module's documentation. */
export const lnTuning: Method = {
  name: "LN-tuning",
  peftType: "LN_TUNING",
  own: /\.ln_tuning_layers\.(weight|bias)$/,
  checkConfig: (config) => refuseUnknown(config, { known: [] }),
  read(files) {
    this.checkConfig(files.config);
    return new Map();
  },
  replaces: norms,
};

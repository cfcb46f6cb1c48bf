/**
 * ViT, as an encoder of images.
 *
 * @module
 */
import type { Family } from "../family.ts";
import { parseVitConfig, type VitConfig } from "./config.ts";
import { type VitWeights, vitWeights } from "./weights.ts";

const prefix = "vit.", parts = ["embeddings", "encoder", "layers", "layernorm", "pooler"];

/** Parts of an attention, by the first letter of what transformers 5 calls them. */
const attention: Readonly<Record<string, string>> = {
  q: "attention.query",
  k: "attention.key",
  v: "attention.value",
  o: "output.dense",
};

/** Names as transformers 5 has them, as files do. */
const rename = (name: string): string =>
  name.replace(/^vit\.layers\./, "vit.encoder.layer.")
    .replace(/\.attention\.([qkvo])_proj(?=\.|$)/, (_, letter) => `.attention.${attention[letter]}`)
    .replace(/\.mlp\.fc1(?=\.|$)/, ".intermediate.dense")
    .replace(/\.mlp\.fc2(?=\.|$)/, ".output.dense");

/** Names as files have them, as transformers 5 has them. */
const savedPath = (path: string): string =>
  path.replace(/^vit\.encoder\.layer\./, "vit.layers.")
    .replace(/\.attention\.attention\.(query|key|value)$/, (_, name: string) => `.attention.${name[0]}_proj`)
    .replace(/\.attention\.output\.dense$/, ".attention.o_proj")
    .replace(/\.intermediate\.dense$/, ".mlp.fc1")
    .replace(/(?<!attention)\.output\.dense$/, ".mlp.fc2");

/** See the module's documentation. */
export const vit: Family<VitConfig, VitWeights> = {
  modelTypes: ["vit"],
  names: { prefix, parts, rename },
  adaptedPath(path) {
    const name = rename(parts.includes(path.split(".", 1)[0]) ? prefix + path : path);
    return name.startsWith("vit.pooler.") ? undefined : name;
  },
  parse: parseVitConfig,
  weights: vitWeights,
  forward: async () => (await import("./forward.ts")).vitForward,
  savedPath,
  // PEFT has no mapping: these are the linears that FourierFT's authors adapt.
  targets: () => ["q_proj", "v_proj"],
  unread: { names: /^(classifier\.|vit\.pooler\.)/ },
};

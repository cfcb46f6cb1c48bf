/**
 * BERT and RoBERTa, as encoders: masked words are not predicted.
 *
 * @module
 */
import type { Family } from "../family.ts";
import { type BertConfig, type BertKind, parseBertConfig } from "./config.ts";
import { type BertWeights, bertWeights } from "./weights.ts";

const parts = ["embeddings", "encoder", "pooler"];

/** What no forward here reads: heads that predict words, classifiers, and RoBERTa's pooler, which has none of its readers. */
const unread = {
  bert: /^(cls\.|classifier\.|bert\.embeddings\.position_ids$)/,
  roberta: /^(lm_head\.|classifier\.|roberta\.pooler\.|roberta\.embeddings\.position_ids$)/,
} as const;

/** PEFT's default targets, where they are not `query` and `value`. */
const ownTargets = new Map([["IA3", ["key", "value", "output.dense"]]]);

function familyOf(kind: BertKind): Family<BertConfig, BertWeights> {
  const { modelType } = kind, prefix = `${modelType}.`;
  return {
    modelTypes: [modelType],
    names: {
      prefix,
      parts,
      embedding: `${prefix}embeddings.word_embeddings.weight`,
      // As files of TensorFlow's time have them.
      rename: (name) =>
        name.replace(/LayerNorm\.gamma$/, "LayerNorm.weight").replace(/LayerNorm\.beta$/, "LayerNorm.bias"),
    },
    adaptedPath(path) {
      const name = parts.includes(path.split(".", 1)[0]) ? prefix + path : path;
      return unread[modelType].test(name) && name.startsWith(`${prefix}pooler.`) ? undefined : name;
    },
    parse: (fields) => parseBertConfig(fields, kind),
    weights: bertWeights,
    forward: async () => (await import("./forward.ts")).bertForward,
    targets: (_, peftType) => ownTargets.get(peftType) ?? ["query", "value"],
    unread: { names: unread[modelType] },
  };
}

/** BERT, whose classifier reads the pooled first token. */
export const bert: Family<BertConfig, BertWeights> = familyOf({
  modelType: "bert",
  vocabSize: 30522,
  padTokenId: 0,
  positionsAfterPad: false,
  classifier: [{ path: "classifier", last: true }],
});

/** RoBERTa, whose classifier reads the first token. */
export const roberta: Family<BertConfig, BertWeights> = familyOf({
  modelType: "roberta",
  vocabSize: 50265,
  padTokenId: 1,
  positionsAfterPad: true,
  classifier: [
    { path: "classifier.dense", last: false, activation: "tanh" },
    { path: "classifier.out_proj", last: true },
  ],
});

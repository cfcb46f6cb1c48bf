/**
 * The weights of BERT and RoBERTa, by a config: their names, shapes and order.
 *
 * @module
 */
import type { LinearSpec, ProjectionSpec, TensorSpec } from "../spec.ts";
import type { BertConfig } from "./config.ts";

/** A layer normalisation's weights. */
type NormSpec = { readonly weight: TensorSpec; readonly bias: TensorSpec };

/** One layer's weights. */
export type BertLayer = {
  readonly attention: ProjectionSpec;
  readonly attentionOut: ProjectionSpec;
  readonly norm1: NormSpec;
  readonly up: ProjectionSpec;
  readonly down: ProjectionSpec;
  readonly norm2: NormSpec;
};

/** A model's weights, without a classifier. */
export type BertWeights = {
  readonly embedding: TensorSpec;
  readonly positions: TensorSpec;
  readonly types: TensorSpec;
  readonly norm: NormSpec;
  readonly layers: readonly BertLayer[];
  /** Of BERT alone: RoBERTa's classifier reads the hidden state itself. */
  readonly pooler: ProjectionSpec | undefined;
};

/** What a config's model has. */
export function bertWeights(config: BertConfig): BertWeights {
  const { modelType, hiddenSize, intermediateSize, layers, vocabSize, maxPositions, encoder } = config;
  const tensor = (name: string, ...shape: number[]): TensorSpec => ({
    kind: "tensor",
    name: `${modelType}.${name}`,
    shape,
  });
  const norm = (name: string): NormSpec => ({
    weight: tensor(`${name}.weight`, hiddenSize),
    bias: tensor(`${name}.bias`, hiddenSize),
  });
  const linear = (path: string, out = hiddenSize, inSize = hiddenSize): LinearSpec => ({
    path: `${modelType}.${path}`,
    shape: { out, in: inSize },
    bias: true,
  });
  const one = (name: string, only: LinearSpec): ProjectionSpec => ({
    kind: "projection",
    name,
    linears: [only],
  });
  const layer = (i: number): BertLayer => {
    const at = `encoder.layer.${i}`;
    return {
      attention: {
        kind: "projection",
        name: "attention",
        linears: ["query", "key", "value"].map((name) => linear(`${at}.attention.self.${name}`)),
      },
      attentionOut: one("attentionOut", linear(`${at}.attention.output.dense`)),
      norm1: norm(`${at}.attention.output.LayerNorm`),
      up: one("up", linear(`${at}.intermediate.dense`, intermediateSize)),
      down: one("down", linear(`${at}.output.dense`, hiddenSize, intermediateSize)),
      norm2: norm(`${at}.output.LayerNorm`),
    };
  };
  return {
    embedding: tensor("embeddings.word_embeddings.weight", vocabSize, hiddenSize),
    positions: tensor(
      "embeddings.position_embeddings.weight",
      maxPositions + encoder.firstPosition,
      hiddenSize,
    ),
    types: tensor("embeddings.token_type_embeddings.weight", encoder.types, hiddenSize),
    norm: norm("embeddings.LayerNorm"),
    layers: Array.from({ length: layers }, (_, i) => layer(i)),
    pooler: modelType === "bert" ? one("pooler", linear("pooler.dense")) : undefined,
  };
}

/**
 * The weights of GPT-2, by a config: their names, shapes and order.
 *
 * @module
 */
import type { EmbeddingSpec, HeadSpec, ProjectionSpec, TensorSpec } from "../spec.ts";
import type { Gpt2Config } from "./config.ts";

/** A layer normalisation's weights. */
type NormSpec = { readonly weight: TensorSpec; readonly bias: TensorSpec };

/** One layer's weights. */
export type Gpt2Layer = {
  readonly norm1: NormSpec;
  /** Queries, keys and values as one linear: adapters adapt it as one. */
  readonly attention: ProjectionSpec;
  readonly attentionOut: ProjectionSpec;
  readonly norm2: NormSpec;
  readonly up: ProjectionSpec;
  readonly down: ProjectionSpec;
};

/** A model's weights. */
export type Gpt2Weights = {
  readonly embedding: EmbeddingSpec;
  readonly head: HeadSpec;
  readonly positions: TensorSpec;
  readonly layers: readonly Gpt2Layer[];
  readonly norm: NormSpec;
};

/** What a config's model has. */
export function gpt2Weights(config: Gpt2Config): Gpt2Weights {
  const { vocabSize, hiddenSize, intermediateSize, maxPositions, layers, tieWordEmbeddings: tied } = config;
  const tensor = (name: string, ...shape: number[]): TensorSpec => ({
    kind: "tensor",
    name: `transformer.${name}`,
    shape,
  });
  const norm = (name: string): NormSpec => ({
    weight: tensor(`${name}.weight`, hiddenSize),
    bias: tensor(`${name}.bias`, hiddenSize),
  });
  const linear = (name: string, path: string, [out, inSize]: readonly [number, number]): ProjectionSpec => ({
    kind: "projection",
    name,
    linears: [{ path: `transformer.${path}`, shape: { out, in: inSize }, bias: true }],
  });
  const layer = (i: number): Gpt2Layer => ({
    norm1: norm(`h.${i}.ln_1`),
    attention: linear("attention", `h.${i}.attn.c_attn`, [3 * hiddenSize, hiddenSize]),
    attentionOut: linear("attentionOut", `h.${i}.attn.c_proj`, [hiddenSize, hiddenSize]),
    norm2: norm(`h.${i}.ln_2`),
    up: linear("up", `h.${i}.mlp.c_fc`, [intermediateSize, hiddenSize]),
    down: linear("down", `h.${i}.mlp.c_proj`, [hiddenSize, intermediateSize]),
  });
  const embedding: EmbeddingSpec = {
    kind: "embedding",
    name: "transformer.wte.weight",
    shape: [vocabSize, hiddenSize],
  };
  return {
    embedding,
    head: {
      kind: "head",
      linear: { path: "lm_head", shape: { out: vocabSize, in: hiddenSize }, bias: false },
      embedding,
      tied,
    },
    positions: tensor("wpe.weight", maxPositions, hiddenSize),
    layers: Array.from({ length: layers }, (_, i) => layer(i)),
    norm: norm("ln_f"),
  };
}

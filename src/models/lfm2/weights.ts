/**
 * The weights of LFM2, by a config: their names, shapes and order.
 *
 * @module
 */
import { ropeTableSpec } from "../rope_table.ts";
import type { EmbeddingSpec, HeadSpec, LinearSpec, ProjectionSpec, TableSpec, TensorSpec } from "../spec.ts";
import { zeros } from "../spec.ts";
import type { Lfm2Config } from "./config.ts";

/** A short convolution between two linears. */
export type Lfm2Conv = {
  /** The factor before the convolution, the factor after it, and its input. */
  readonly in: ProjectionSpec;
  readonly weight: TensorSpec;
  /** Zeros where the file has none. */
  readonly bias: TensorSpec | TableSpec;
  readonly out: ProjectionSpec;
};

/** Attention between its linears. */
export type Lfm2Attention = {
  readonly qkv: ProjectionSpec;
  readonly qNorm: TensorSpec;
  readonly kNorm: TensorSpec;
  readonly out: ProjectionSpec;
};

/** One layer's weights: it has a convolution or attention. */
export type Lfm2Layer = {
  readonly mixerNorm: TensorSpec;
  readonly conv?: Lfm2Conv;
  readonly attention?: Lfm2Attention;
  readonly mlpNorm: TensorSpec;
  readonly gateUp: ProjectionSpec;
  readonly down: ProjectionSpec;
};

/** A model's weights. */
export type Lfm2Weights = {
  readonly embedding: EmbeddingSpec;
  readonly head: HeadSpec;
  readonly layers: readonly Lfm2Layer[];
  readonly norm: TensorSpec;
  readonly ropeTable: TableSpec;
};

const norm = (path: string, size: number): TensorSpec => ({
  kind: "tensor",
  name: `${path}.weight`,
  shape: [size],
});

const projection = (name: string, ...linears: LinearSpec[]): ProjectionSpec => ({
  kind: "projection",
  name,
  linears,
});

function convOf({ hiddenSize, convWidth, convBias: bias }: Lfm2Config, at: string): Lfm2Conv {
  const linear = (path: string, out: number): ProjectionSpec =>
    projection(path, { path: `${at}.conv.${path}`, shape: { out, in: hiddenSize }, bias });
  return {
    in: linear("in_proj", 3 * hiddenSize),
    weight: {
      kind: "tensor",
      name: `${at}.conv.conv.weight`,
      shape: [hiddenSize, convWidth],
      fileShape: [hiddenSize, 1, convWidth],
    },
    bias: bias ? { kind: "tensor", name: `${at}.conv.conv.bias`, shape: [hiddenSize] } : zeros([hiddenSize]),
    out: linear("out_proj", hiddenSize),
  };
}

function attentionOf({ hiddenSize, heads, kvHeads, headDim }: Lfm2Config, at: string): Lfm2Attention {
  const linear = (path: string, out: number): LinearSpec => ({
    path: `${at}.self_attn.${path}`,
    shape: { out, in: hiddenSize },
    bias: false,
  });
  return {
    qkv: projection(
      "qkv",
      linear("q_proj", heads * headDim),
      linear("k_proj", kvHeads * headDim),
      linear("v_proj", kvHeads * headDim),
    ),
    qNorm: norm(`${at}.self_attn.q_layernorm`, headDim),
    kNorm: norm(`${at}.self_attn.k_layernorm`, headDim),
    out: projection("o", {
      path: `${at}.self_attn.out_proj`,
      shape: { out: hiddenSize, in: heads * headDim },
      bias: false,
    }),
  };
}

function layerOf(config: Lfm2Config, i: number): Lfm2Layer {
  const { hiddenSize, intermediateSize, mixers } = config, at = `model.layers.${i}`;
  const linear = (path: string, out: number, inSize: number): LinearSpec => ({
    path: `${at}.feed_forward.${path}`,
    shape: { out, in: inSize },
    bias: false,
  });
  return {
    mixerNorm: norm(`${at}.operator_norm`, hiddenSize),
    ...(mixers[i] === "conv" ? { conv: convOf(config, at) } : { attention: attentionOf(config, at) }),
    mlpNorm: norm(`${at}.ffn_norm`, hiddenSize),
    gateUp: projection(
      "gateUp",
      linear("w1", intermediateSize, hiddenSize),
      linear("w3", intermediateSize, hiddenSize),
    ),
    down: projection("down", linear("w2", hiddenSize, intermediateSize)),
  };
}

/** What a config's model has. */
export function lfm2Weights(config: Lfm2Config): Lfm2Weights {
  const { vocabSize, hiddenSize, layers, tieWordEmbeddings: tied } = config;
  const embedding: EmbeddingSpec = {
    kind: "embedding",
    name: "model.embed_tokens.weight",
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
    layers: Array.from({ length: layers }, (_, i) => layerOf(config, i)),
    norm: norm("model.embedding_norm", hiddenSize),
    ropeTable: ropeTableSpec(config.rope),
  };
}

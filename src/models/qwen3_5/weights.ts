/**
 * The weights of Qwen3.5's decoder, by a config: their names, shapes and order.
 *
 * @module
 */
import { ropeTableSpec } from "../rope_table.ts";
import {
  type EmbeddingSpec,
  type HeadSpec,
  type LinearSpec,
  type ProjectionSpec,
  type RowsSpec,
  type TableSpec,
  type TensorSpec,
  zeros,
} from "../spec.ts";
import type { Qwen35Config, Qwen35Type } from "./config.ts";

/** Linear attention: a short convolution and the gated delta rule. */
export type Qwen35DeltaNet = {
  /** Queries, keys and values as one, and the gate of what comes out. */
  readonly qkvz: ProjectionSpec;
  /** How much a token corrects the state, and how much the state forgets: a number each a head. */
  readonly gates: ProjectionSpec;
  readonly convWeight: TensorSpec;
  readonly convBias: TableSpec;
  /** A_log, then dt_bias. */
  readonly decay: RowsSpec;
  readonly norm: TensorSpec;
  readonly out: ProjectionSpec;
};

/** Attention between its linears; q has a gate behind each head's columns. */
export type Qwen35Attention = {
  readonly qkv: ProjectionSpec;
  readonly qNorm: TensorSpec;
  readonly kNorm: TensorSpec;
  readonly out: ProjectionSpec;
};

/** One layer's weights: it has attention of one kind. */
export type Qwen35Layer = {
  readonly mixerNorm: TensorSpec;
  readonly deltaNet?: Qwen35DeltaNet;
  readonly attention?: Qwen35Attention;
  readonly mlpNorm: TensorSpec;
  readonly gateUp: ProjectionSpec;
  readonly down: ProjectionSpec;
};

/** A model's weights. */
export type Qwen35Weights = {
  readonly embedding: EmbeddingSpec;
  readonly head: HeadSpec;
  readonly layers: readonly Qwen35Layer[];
  readonly norm: TensorSpec;
  readonly ropeTable: TableSpec;
};

/** What names of the decoder's weights begin with, by `model_type`. */
export const decoderAt: Readonly<Record<Qwen35Type, string>> = {
  qwen3_5_text: "model.",
  qwen3_5: "model.language_model.",
};

/** A norm that multiplies by 1 + weight. */
const norm = (path: string, size: number): TensorSpec => ({
  kind: "tensor",
  name: `${path}.weight`,
  shape: [size],
  plus: 1,
});

const projection = (name: string, ...linears: LinearSpec[]): ProjectionSpec => ({
  kind: "projection",
  name,
  linears,
});

function deltaNetOf({ hiddenSize, deltaNet }: Qwen35Config, layer: string): Qwen35DeltaNet {
  const { keyHeads, heads, keyDim, valueDim, convWidth } = deltaNet, at = `${layer}.linear_attn`;
  const values = heads * valueDim, columns = 2 * keyHeads * keyDim + values;
  const linear = (path: string, out: number, inSize = hiddenSize): LinearSpec => ({
    path: `${at}.${path}`,
    shape: { out, in: inSize },
    bias: false,
  });
  const ofHeads = (name: string): TensorSpec => ({ kind: "tensor", name: `${at}.${name}`, shape: [heads] });
  return {
    qkvz: projection("qkvz", linear("in_proj_qkv", columns), linear("in_proj_z", values)),
    // Apart: files that other programs quantised have these two as floats.
    gates: projection("gates", linear("in_proj_b", heads), linear("in_proj_a", heads)),
    convWeight: {
      kind: "tensor",
      name: `${at}.conv1d.weight`,
      shape: [columns, convWidth],
      fileShape: [columns, 1, convWidth],
    },
    convBias: zeros([columns]),
    decay: { kind: "rows", rows: [ofHeads("A_log"), ofHeads("dt_bias")] },
    norm: { kind: "tensor", name: `${at}.norm.weight`, shape: [valueDim] },
    out: projection("deltaOut", linear("out_proj", hiddenSize, values)),
  };
}

function attentionOf(config: Qwen35Config, layer: string): Qwen35Attention {
  const { hiddenSize, heads, kvHeads, headDim, attentionBias: bias } = config, at = `${layer}.self_attn`;
  const linear = (path: string, out: number, inSize = hiddenSize): LinearSpec => ({
    path: `${at}.${path}`,
    shape: { out, in: inSize },
    bias,
  });
  return {
    qkv: projection(
      "qkv",
      linear("q_proj", 2 * heads * headDim),
      linear("k_proj", kvHeads * headDim),
      linear("v_proj", kvHeads * headDim),
    ),
    qNorm: norm(`${at}.q_norm`, headDim),
    kNorm: norm(`${at}.k_norm`, headDim),
    out: projection("o", linear("o_proj", hiddenSize, heads * headDim)),
  };
}

function layerOf(config: Qwen35Config, i: number): Qwen35Layer {
  const { modelType, hiddenSize, intermediateSize, mixers } = config;
  const at = `${decoderAt[modelType]}layers.${i}`;
  const linear = (path: string, out: number, inSize: number): LinearSpec => ({
    path: `${at}.mlp.${path}`,
    shape: { out, in: inSize },
    bias: false,
  });
  return {
    mixerNorm: norm(`${at}.input_layernorm`, hiddenSize),
    ...(mixers[i] === "linear_attention"
      ? { deltaNet: deltaNetOf(config, at) }
      : { attention: attentionOf(config, at) }),
    mlpNorm: norm(`${at}.post_attention_layernorm`, hiddenSize),
    gateUp: projection(
      "gateUp",
      linear("gate_proj", intermediateSize, hiddenSize),
      linear("up_proj", intermediateSize, hiddenSize),
    ),
    down: projection("down", linear("down_proj", hiddenSize, intermediateSize)),
  };
}

/** What a config's model has. */
export function qwen35Weights(config: Qwen35Config): Qwen35Weights {
  const { modelType, vocabSize, hiddenSize, layers, tieWordEmbeddings: tied } = config;
  const embedding: EmbeddingSpec = {
    kind: "embedding",
    name: `${decoderAt[modelType]}embed_tokens.weight`,
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
    norm: norm(`${decoderAt[modelType]}norm`, hiddenSize),
    ropeTable: ropeTableSpec(config.rope),
  };
}

/**
 * The weights of the Llama family, by a config: their names, shapes and order.
 *
 * @module
 */
import { ropeTableSpec } from "../rope_table.ts";
import type { EmbeddingSpec, HeadSpec, LinearSpec, ProjectionSpec, TableSpec, TensorSpec } from "../spec.ts";
import { globalRope, type LlamaConfig } from "./config.ts";

/** One layer's weights; which norms it has is the config's choice. */
export type LlamaLayer = {
  /** q_proj, k_proj and v_proj, or qkv_proj. */
  readonly qkv: ProjectionSpec;
  readonly o: ProjectionSpec;
  /** gate_proj and up_proj, or gate_up_proj. */
  readonly gateUp: ProjectionSpec;
  readonly down: ProjectionSpec;
  /** Before attention, and of queries and keys. */
  readonly attentionNorm?: TensorSpec;
  readonly qNorm?: TensorSpec;
  readonly kNorm?: TensorSpec;
  /** After o. */
  readonly attendedNorm?: TensorSpec;
  /** Before the MLP, and after down. */
  readonly mlpNorm?: TensorSpec;
  readonly downNorm?: TensorSpec;
};

/** A model's weights. */
export type LlamaWeights = {
  readonly embedding: EmbeddingSpec;
  readonly head: HeadSpec;
  readonly layers: readonly LlamaLayer[];
  readonly norm: TensorSpec;
  /** Of every position of sequences of up to `fixedRopeLength`. */
  readonly ropeTables: { readonly global: TableSpec; readonly local?: TableSpec };
};

/** Names of a layer's norms, by where they are. */
const normNames = {
  before: { attentionNorm: "input_layernorm", mlpNorm: "post_attention_layernorm" },
  after: { attendedNorm: "post_attention_layernorm", downNorm: "post_feedforward_layernorm" },
  both: {
    attentionNorm: "input_layernorm",
    attendedNorm: "post_attention_layernorm",
    mlpNorm: "pre_feedforward_layernorm",
    downNorm: "post_feedforward_layernorm",
  },
} as const satisfies Record<LlamaConfig["norms"], { readonly [Norm in keyof LlamaLayer]?: string }>;

/** A norm's weights, as the forward multiplies by them. */
function normOf({ normOffset }: LlamaConfig, name: string, size: number): TensorSpec {
  return {
    kind: "tensor",
    name: `${name}.weight`,
    shape: [size],
    ...(normOffset ? { plus: normOffset } : {}),
  };
}

function layerNorms(config: LlamaConfig, at: string): Partial<LlamaLayer> {
  const { hiddenSize, heads, kvHeads, headDim, qkNorm, norms } = config;
  const named = Object.entries(normNames[norms]).map(([norm, name]) =>
    [norm, normOf(config, `${at}.${name}`, hiddenSize)] as const
  );
  const ofHeads = (name: string, count: number): TensorSpec =>
    normOf(config, `${at}.self_attn.${name}`, qkNorm === "head" ? headDim : count * headDim);
  return {
    ...Object.fromEntries(named),
    ...(qkNorm ? { qNorm: ofHeads("q_norm", heads), kNorm: ofHeads("k_norm", kvHeads) } : {}),
  };
}

function layerOf(config: LlamaConfig, layer: number): LlamaLayer {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim, fused } = config;
  const { qkvBias, outputBias, mlpBias } = config;
  const at = `model.layers.${layer}`;
  const linear = (path: string, [out, inSize]: readonly [number, number], bias: boolean): LinearSpec => ({
    path: `${at}.${path}`,
    shape: { out, in: inSize },
    bias,
  });
  const projection = (name: string, ...linears: LinearSpec[]): ProjectionSpec => ({
    kind: "projection",
    name,
    linears,
  });
  const q = heads * headDim, kv = kvHeads * headDim;
  const into = (path: string, out: number, bias: boolean) => linear(path, [out, hiddenSize], bias);
  return {
    qkv: fused ? projection("qkv", into("self_attn.qkv_proj", q + 2 * kv, qkvBias)) : projection(
      "qkv",
      into("self_attn.q_proj", q, qkvBias),
      into("self_attn.k_proj", kv, qkvBias),
      into("self_attn.v_proj", kv, qkvBias),
    ),
    o: projection("o", linear("self_attn.o_proj", [hiddenSize, q], outputBias)),
    gateUp: fused
      ? projection("gateUp", into("mlp.gate_up_proj", 2 * intermediateSize, mlpBias))
      : projection(
        "gateUp",
        ...["gate_proj", "up_proj"].map((name) => into(`mlp.${name}`, intermediateSize, mlpBias)),
      ),
    down: projection("down", linear("mlp.down_proj", [hiddenSize, intermediateSize], mlpBias)),
    ...layerNorms(config, at),
  };
}

/** What a config's model has. */
export function llamaWeights(config: LlamaConfig): LlamaWeights {
  const { vocabSize, hiddenSize, tieWordEmbeddings: tied, localRope } = config;
  const embedding = {
    kind: "embedding",
    name: "model.embed_tokens.weight",
    shape: [vocabSize, hiddenSize],
  } as const;
  return {
    embedding,
    head: {
      kind: "head",
      linear: { path: "lm_head", shape: { out: vocabSize, in: hiddenSize }, bias: false },
      embedding,
      tied,
    },
    layers: Array.from({ length: config.layers }, (_, i) => layerOf(config, i)),
    norm: normOf(config, "model.norm", hiddenSize),
    ropeTables: {
      global: ropeTableSpec(globalRope(config)),
      ...(localRope ? { local: ropeTableSpec(localRope) } : {}),
    },
  };
}

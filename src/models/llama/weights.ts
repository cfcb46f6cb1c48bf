/**
 * The weights of the Llama family, by a config: their names, shapes and order.
 *
 * @module
 */
import { tensor } from "../../tensor.ts";
import { fixedRopeLength, ropeTable } from "../rope.ts";
import type { HeadSpec, LinearSpec, ProjectionSpec, TableSpec, TensorSpec } from "../spec.ts";
import type { LlamaConfig } from "./config.ts";

/** One layer's weights. */
export type LlamaLayer = {
  /** q_proj, k_proj and v_proj. */
  readonly qkv: ProjectionSpec;
  readonly o: ProjectionSpec;
  /** gate_proj and up_proj. */
  readonly gateUp: ProjectionSpec;
  readonly down: ProjectionSpec;
  readonly inputNorm: TensorSpec;
  readonly postNorm: TensorSpec;
};

/** A model's weights. */
export type LlamaWeights = {
  readonly embedding: TensorSpec;
  readonly head: HeadSpec;
  readonly layers: readonly LlamaLayer[];
  readonly norm: TensorSpec;
  /** Of every position of sequences of up to `fixedRopeLength`. */
  readonly ropeTable: TableSpec;
};

function layerOf(config: LlamaConfig, layer: number): LlamaLayer {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim, qkvBias, outputBias, mlpBias } = config;
  const at = `model.layers.${layer}`;
  const linear = (path: string, [out, inSize]: readonly [number, number], bias: boolean): LinearSpec => ({
    path: `${at}.${path}`,
    shape: { out, in: inSize },
    bias,
  });
  const norm = (name: string): TensorSpec => ({
    kind: "tensor",
    name: `${at}.${name}.weight`,
    shape: [hiddenSize],
  });
  return {
    qkv: {
      kind: "projection",
      name: "qkv",
      linears: [
        linear("self_attn.q_proj", [heads * headDim, hiddenSize], qkvBias),
        linear("self_attn.k_proj", [kvHeads * headDim, hiddenSize], qkvBias),
        linear("self_attn.v_proj", [kvHeads * headDim, hiddenSize], qkvBias),
      ],
    },
    o: {
      kind: "projection",
      name: "o",
      linears: [linear("self_attn.o_proj", [hiddenSize, heads * headDim], outputBias)],
    },
    gateUp: {
      kind: "projection",
      name: "gateUp",
      linears: ["gate_proj", "up_proj"].map((name) =>
        linear(`mlp.${name}`, [intermediateSize, hiddenSize], mlpBias)
      ),
    },
    down: {
      kind: "projection",
      name: "down",
      linears: [linear("mlp.down_proj", [hiddenSize, intermediateSize], mlpBias)],
    },
    inputNorm: norm("input_layernorm"),
    postNorm: norm("post_attention_layernorm"),
  };
}

/** What a config's model has. */
export function llamaWeights(config: LlamaConfig): LlamaWeights {
  const { vocabSize, hiddenSize, headDim, tieWordEmbeddings: tied } = config;
  const embedding = {
    kind: "tensor",
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
    norm: { kind: "tensor", name: "model.norm.weight", shape: [hiddenSize] },
    ropeTable: {
      kind: "table",
      make(maxModelLen) {
        const positions = Math.min(maxModelLen, fixedRopeLength(config));
        return tensor(ropeTable(config, positions), [positions, headDim / 2, 2]);
      },
    },
  };
}

/**
 * The weights of ViT, by a config: their names, shapes and order.
 *
 * @module
 */
import type { LinearSpec, ProjectionSpec, RowsSpec, TensorSpec } from "../spec.ts";
import type { VitConfig } from "./config.ts";

/** A layer normalisation's weights. */
type NormSpec = { readonly weight: TensorSpec; readonly bias: TensorSpec };

/** One layer's weights. */
export type VitLayer = {
  readonly norm1: NormSpec;
  readonly attention: ProjectionSpec;
  readonly attentionOut: ProjectionSpec;
  readonly norm2: NormSpec;
  readonly up: ProjectionSpec;
  readonly down: ProjectionSpec;
};

/** A model's weights, without a classifier. */
export type VitWeights = {
  /** The patches' linear, a convolution whose steps are its size; its bias is among the types. */
  readonly patches: ProjectionSpec;
  /** What is added to a row by its type: the class token to the first row, the linear's bias to patches. */
  readonly types: RowsSpec;
  readonly positions: TensorSpec;
  readonly layers: readonly VitLayer[];
  readonly norm: NormSpec;
};

/** What a config's model has. */
export function vitWeights(config: VitConfig): VitWeights {
  const { hiddenSize, intermediateSize, layers, maxPositions, qkvBias, image: { channels, patch } } = config;
  const tensor = (name: string, shape: readonly number[], fileShape = shape): TensorSpec => ({
    kind: "tensor",
    name: `vit.${name}`,
    shape,
    fileShape,
  });
  const norm = (name: string): NormSpec => ({
    weight: tensor(`${name}.weight`, [hiddenSize]),
    bias: tensor(`${name}.bias`, [hiddenSize]),
  });
  const linear = (path: string, out = hiddenSize, inSize = hiddenSize): LinearSpec => ({
    path: `vit.${path}`,
    shape: { out, in: inSize },
    bias: true,
  });
  const projection = (name: string, ...linears: readonly LinearSpec[]): ProjectionSpec => ({
    kind: "projection",
    name,
    linears,
  });
  const layer = (i: number): VitLayer => {
    const at = `encoder.layer.${i}`;
    const attention = ["query", "key", "value"].map((name) => ({
      ...linear(`${at}.attention.attention.${name}`),
      bias: qkvBias,
    }));
    return {
      norm1: norm(`${at}.layernorm_before`),
      attention: projection("attention", ...attention),
      attentionOut: projection("attentionOut", linear(`${at}.attention.output.dense`)),
      norm2: norm(`${at}.layernorm_after`),
      up: projection("up", linear(`${at}.intermediate.dense`, intermediateSize)),
      down: projection("down", linear(`${at}.output.dense`, hiddenSize, intermediateSize)),
    };
  };
  const convolution = "embeddings.patch_embeddings.projection", row = [1, hiddenSize];
  return {
    patches: projection("patches", {
      ...linear(convolution, hiddenSize, channels * patch * patch),
      bias: false,
      fileShape: [hiddenSize, channels, patch, patch],
    }),
    types: {
      kind: "rows",
      rows: [
        tensor("embeddings.cls_token", row, [1, 1, hiddenSize]),
        tensor(`${convolution}.bias`, row, [hiddenSize]),
      ],
    },
    positions: tensor("embeddings.position_embeddings", [maxPositions, hiddenSize], [
      1,
      maxPositions,
      hiddenSize,
    ]),
    layers: Array.from({ length: layers }, (_, i) => layer(i)),
    norm: norm("layernorm"),
  };
}

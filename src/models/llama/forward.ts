/**
 * The forward of a Llama (Touvron et al. 2023, arXiv:2302.13971; Llama 3: arXiv:2407.21783), and of the models that differ
 * from it in norms, windows, rotary positions and multipliers.
 *
 * @module
 */
import type { Tensor } from "../../tensor.ts";
import type { Graph, Rope, Value } from "../graph.ts";
import {
  add,
  attend,
  type Attention,
  embed,
  gated,
  logits,
  outputsOf,
  project,
  projectOnto,
  rmsNorm,
  scale,
  split,
} from "../operations/mod.ts";
import type { Projection } from "../projection.ts";
import type { Loaded } from "../spec.ts";
import { globalRope, type LlamaConfig } from "./config.ts";
import type { LayerKind } from "./layers.ts";
import type { LlamaLayer, LlamaWeights } from "./weights.ts";

/** Records it. */
export function llamaForward(graph: Graph, config: LlamaConfig, weights: Loaded<LlamaWeights>): void {
  const { rmsNormEps: eps, activation, residualScale, layerKinds, intermediateSize } = config;
  const ropes = ropesOf(config, weights);
  const normed = (x: Value, weight: Tensor | undefined): Value => weight ? rmsNorm(x, weight, eps) : x;
  /** The stream with a branch's end added to it. */
  const branch = (x: Value, end: Value, linear: Projection, norm: Tensor | undefined): Value => {
    if (!norm && residualScale === 1) return projectOnto(x, end, linear);
    const [made] = project(end, linear);
    return add(x, normed(made, norm), residualScale);
  };

  let x = scale(embed(graph, weights.embedding), config.embeddingScale);
  for (const [i, layer] of graph.layers([...weights.layers.entries()])) {
    const { rope, window } = layerKinds[i];
    const [q, k, v] = parts(normed(x, layer.attentionNorm), layer.qkv, widths(config));
    const attended = attend({ q, k, v }, { ...attentionOf(config, layer), rope: ropes[rope], window });
    x = branch(x, attended, layer.o, layer.attendedNorm);
    const [gate, up] = parts(normed(x, layer.mlpNorm), layer.gateUp, [intermediateSize, intermediateSize]);
    x = branch(x, gated(gate, up, activation), layer.down, layer.downNorm);
  }
  const hidden = scale(rmsNorm(outputsOf(x), weights.norm, eps), config.logitScale);
  logits(hidden, weights.head, { softcap: config.logitSoftcap });
}

/** Columns of q, k and v. */
function widths({ heads, kvHeads, headDim }: LlamaConfig): readonly number[] {
  return [heads * headDim, kvHeads * headDim, kvHeads * headDim];
}

/** What a projection's linears give, or the parts of what its one linear gives. */
function parts(x: Value, projection: Projection, widths: readonly number[]): Value[] {
  const made = project(x, projection);
  return made.length === widths.length ? made : split(made[0], widths);
}

/** Rotary settings with their tables, by the names of layers' kinds. */
function ropesOf(
  config: LlamaConfig,
  { ropeTables: { global, local } }: Loaded<LlamaWeights>,
): Readonly<Record<LayerKind["rope"], Rope | undefined>> {
  return {
    global: { config: globalRope(config), table: global },
    local: config.localRope && { config: config.localRope, table: local! },
    none: undefined,
  };
}

/** A layer's attention, but for what its kind says. */
function attentionOf(config: LlamaConfig, { qNorm: q, kNorm: k }: Loaded<LlamaLayer>): Attention {
  const { headDim, attentionScale: scale, attentionSoftcap: softcap, rmsNormEps: eps } = config;
  return { headDim, scale, softcap, norm: q && k && { q, k, eps } };
}

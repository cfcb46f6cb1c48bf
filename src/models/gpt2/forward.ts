/**
 * The forward of GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners").
 *
 * @module
 */
import type { Graph } from "../graph.ts";
import {
  activate,
  add,
  attend,
  embed,
  layerNorm,
  logits,
  outputsOf,
  project,
  projectOnto,
  split,
} from "../operations/mod.ts";
import type { Loaded } from "../spec.ts";
import type { Gpt2Config } from "./config.ts";
import type { Gpt2Weights } from "./weights.ts";

/** Records it. */
export function gpt2Forward(graph: Graph, config: Gpt2Config, weights: Loaded<Gpt2Weights>): void {
  const { hiddenSize, headDim, activation, layerNormEps: eps } = config;
  const scale = config.scalesAttention ? 1 / Math.sqrt(headDim) : 1;
  let x = add(embed(graph, weights.embedding), embed(graph, weights.positions, "positions"));
  for (const layer of graph.layers(weights.layers)) {
    const [qkv] = project(layerNorm(x, layer.norm1, eps), layer.attention);
    const [q, k, v] = split(qkv, [hiddenSize, hiddenSize, hiddenSize]);
    x = projectOnto(x, attend({ q, k, v }, { headDim, scale }), layer.attentionOut);
    const [up] = project(layerNorm(x, layer.norm2, eps), layer.up);
    x = projectOnto(x, activate(up, activation), layer.down);
  }
  logits(layerNorm(outputsOf(x), weights.norm, eps), weights.head);
}

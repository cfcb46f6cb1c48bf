/**
 * The forward of BERT (Devlin et al. 2019, arXiv 1810.04805) and RoBERTa (Liu et al. 2019, arXiv 1907.11692).
 *
 * @module
 */
import type { Graph } from "../graph.ts";
import {
  activate,
  add,
  attendAll,
  embed,
  layerNorm,
  outputsOf,
  project,
  projectOnto,
  states,
} from "../operations/mod.ts";
import type { Loaded } from "../spec.ts";
import type { BertConfig } from "./config.ts";
import type { BertWeights } from "./weights.ts";

/** Records it. */
export function bertForward(graph: Graph, config: BertConfig, weights: Loaded<BertWeights>): void {
  const { headDim, activation, layerNormEps: eps } = config;
  const scale = 1 / Math.sqrt(headDim);
  const embedded = add(embed(graph, weights.embedding), embed(graph, weights.types, "types"));
  let x = layerNorm(add(embedded, embed(graph, weights.positions, "positions")), weights.norm, eps);
  for (const layer of graph.layers(weights.layers)) {
    const [q, k, v] = project(x, layer.attention);
    x = layerNorm(
      projectOnto(x, attendAll({ q, k, v }, { headDim, scale }), layer.attentionOut),
      layer.norm1,
      eps,
    );
    const [up] = project(x, layer.up);
    x = layerNorm(projectOnto(x, activate(up, activation), layer.down), layer.norm2, eps);
  }
  const [first] = weights.pooler ? project(outputsOf(x), weights.pooler) : [outputsOf(x)];
  states(x, weights.pooler ? activate(first, "tanh") : first);
}

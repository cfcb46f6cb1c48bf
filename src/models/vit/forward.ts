/**
 * The forward of ViT (Dosovitskiy et al. 2021, arXiv 2010.11929).
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
  patches,
  project,
  projectOnto,
  states,
} from "../operations/mod.ts";
import type { Loaded } from "../spec.ts";
import type { VitConfig } from "./config.ts";
import type { VitWeights } from "./weights.ts";

/** Records it. */
export function vitForward(graph: Graph, config: VitConfig, weights: Loaded<VitWeights>): void {
  const { headDim, activation, layerNormEps: eps, image: { channels, patch } } = config;
  const scale = 1 / Math.sqrt(headDim);
  // The class token's row has pixels of 0.
  const [seen] = project(patches(graph, channels * patch * patch), weights.patches);
  let x = add(add(seen, embed(graph, weights.types, "types")), embed(graph, weights.positions, "positions"));
  for (const layer of graph.layers(weights.layers)) {
    const [q, k, v] = project(layerNorm(x, layer.norm1, eps), layer.attention);
    x = projectOnto(x, attendAll({ q, k, v }, { headDim, scale }), layer.attentionOut);
    const [up] = project(layerNorm(x, layer.norm2, eps), layer.up);
    x = projectOnto(x, activate(up, activation), layer.down);
  }
  const hidden = layerNorm(x, weights.norm, eps);
  states(hidden, outputsOf(hidden));
}

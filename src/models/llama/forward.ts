/**
 * The forward of a Llama (Touvron et al. 2023, arXiv:2302.13971; Llama 3: arXiv:2407.21783), which Mistral and Qwen2 share.
 *
 * @module
 */
import type { Graph } from "../graph.ts";
import {
  attend,
  embed,
  logits,
  outputsOf,
  project,
  projectOnto,
  rmsNorm,
  siluGated,
} from "../operations/mod.ts";
import type { Loaded } from "../spec.ts";
import type { LlamaConfig } from "./config.ts";
import type { LlamaWeights } from "./weights.ts";

/** Records it. */
export function llamaForward(graph: Graph, config: LlamaConfig, weights: Loaded<LlamaWeights>): void {
  const { headDim, rmsNormEps: eps } = config;
  const rope = { config, table: weights.ropeTable };
  let x = embed(graph, weights.embedding);
  for (const layer of graph.layers(weights.layers)) {
    const [q, k, v] = project(rmsNorm(x, layer.inputNorm, eps), layer.qkv);
    const attended = attend({ q, k, v }, { headDim, rope, scale: 1 / Math.sqrt(headDim) });
    x = projectOnto(x, attended, layer.o);
    const [gate, up] = project(rmsNorm(x, layer.postNorm, eps), layer.gateUp);
    x = projectOnto(x, siluGated(gate, up), layer.down);
  }
  logits(rmsNorm(outputsOf(x), weights.norm, eps), weights.head);
}

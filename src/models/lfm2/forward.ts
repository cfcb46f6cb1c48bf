/**
 * The forward of LFM2 (Liquid AI 2025, arXiv:2511.23404): short convolutions between two factors, and attention.
 *
 * @module
 */
import type { Graph, Value } from "../graph.ts";
import {
  attend,
  convolve,
  embed,
  gated,
  logits,
  outputsOf,
  project,
  projectOnto,
  rmsNorm,
  split,
} from "../operations/mod.ts";
import type { Loaded } from "../spec.ts";
import type { Lfm2Config } from "./config.ts";
import type { Lfm2Attention, Lfm2Conv, Lfm2Weights } from "./weights.ts";

/** Records it. */
export function lfm2Forward(graph: Graph, config: Lfm2Config, weights: Loaded<Lfm2Weights>): void {
  const { hiddenSize, headDim, normEps: eps } = config;
  const rope = { config: config.rope, table: weights.ropeTable };

  function convolved(x: Value, { in: linear, weight, bias }: Loaded<Lfm2Conv>): Value {
    const beside = split(project(x, linear)[0], [hiddenSize, hiddenSize, hiddenSize]);
    const [before, after, input] = beside;
    return convolve(input, { weight, bias }, { beside, factors: { before, after } });
  }

  function attended(x: Value, { qkv, qNorm, kNorm }: Loaded<Lfm2Attention>): Value {
    const [q, k, v] = project(x, qkv), norm = { q: qNorm, k: kNorm, eps };
    return attend({ q, k, v }, { headDim, scale: 1 / Math.sqrt(headDim), norm, rope });
  }

  let x = embed(graph, weights.embedding);
  for (const { mixerNorm, conv, attention, mlpNorm, gateUp, down } of graph.layers(weights.layers)) {
    const normed = rmsNorm(x, mixerNorm, eps);
    x = conv
      ? projectOnto(x, convolved(normed, conv), conv.out)
      : projectOnto(x, attended(normed, attention!), attention!.out);
    const [gate, up] = project(rmsNorm(x, mlpNorm, eps), gateUp);
    x = projectOnto(x, gated(gate, up, "silu"), down);
  }
  logits(rmsNorm(outputsOf(x), weights.norm, eps), weights.head);
}

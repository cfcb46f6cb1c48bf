/**
 * The forward of Qwen3.5's decoder: gated delta nets (Yang et al. 2025, arXiv:2412.06464), and attention with gates.
 *
 * @module
 */
import type { Graph, Value } from "../graph.ts";
import {
  activate,
  attend,
  convolve,
  deltaRule,
  embed,
  gateBy,
  gated,
  headNorm,
  logits,
  outputsOf,
  project,
  projectOnto,
  rmsNorm,
  takeQueries,
} from "../operations/mod.ts";
import type { Loaded } from "../spec.ts";
import type { Qwen35Config } from "./config.ts";
import type { Qwen35Attention, Qwen35DeltaNet, Qwen35Weights } from "./weights.ts";

/** Records it. */
export function qwen35Forward(graph: Graph, config: Qwen35Config, weights: Loaded<Qwen35Weights>): void {
  const { headDim, rmsNormEps: eps, activation, deltaNet: sizes } = config;
  const rope = { config: config.rope, table: weights.ropeTable };

  function recurrent(x: Value, net: Loaded<Qwen35DeltaNet>): Value {
    const [qkv, z] = project(x, net.qkvz), [beta, dt] = project(x, net.gates), beside = [qkv, z];
    const { keyHeads, heads, keyDim, valueDim } = sizes;
    const convolved = convolve(qkv, { weight: net.convWeight, bias: net.convBias }, { beside });
    const read = deltaRule(activate(convolved, activation), { beta, dt, beside: [beta, dt] }, {
      ...{ keyHeads, heads, keyDim, valueDim, decay: net.decay },
    });
    return gateBy(headNorm(read, net.norm, eps), z, { activation: "silu", beside });
  }

  function attended(x: Value, { qkv, qNorm, kNorm }: Loaded<Qwen35Attention>): Value {
    const [gatedQ, k, v] = project(x, qkv), norm = { q: qNorm, k: kNorm, eps };
    const queries = takeQueries({ q: gatedQ, k, v }, headDim);
    const read = attend(queries, { headDim, scale: 1 / Math.sqrt(headDim), norm, rope });
    return gateBy(read, gatedQ, { activation: "sigmoid", beside: [gatedQ, k, v], headDim });
  }

  let x = embed(graph, weights.embedding);
  for (const { mixerNorm, deltaNet, attention, mlpNorm, gateUp, down } of graph.layers(weights.layers)) {
    const normed = rmsNorm(x, mixerNorm, eps);
    x = deltaNet
      ? projectOnto(x, recurrent(normed, deltaNet), deltaNet.out)
      : projectOnto(x, attended(normed, attention!), attention!.out);
    const [gate, up] = project(rmsNorm(x, mlpNorm, eps), gateUp);
    x = projectOnto(x, gated(gate, up, activation), down);
  }
  logits(rmsNorm(outputsOf(x), weights.norm, eps), weights.head);
}

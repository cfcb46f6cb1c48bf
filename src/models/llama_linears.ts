/**
 * The linears of the Llama family, by a config: their names, shapes and order.
 *
 * @module
 */
import type { Linear } from "../adapters/bank.ts";
import type { LlamaConfig } from "./config.ts";

/** A linear, and whether it has a bias. */
export interface LinearSpec extends Linear {
  readonly bias: boolean;
}

/** Linears of a layer. */
export const perLayer = 7;

/** A layer's linears in their order, those that share their input together. */
export function layerLinears(config: LlamaConfig, layer: number): readonly (readonly LinearSpec[])[] {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim, qkvBias, outputBias, mlpBias } = config;
  const at = `model.layers.${layer}.`;
  const spec = (name: string, out: number, inFeatures: number, bias: boolean): LinearSpec => ({
    path: at + name,
    shape: { out, in: inFeatures },
    bias,
  });
  return [
    [
      spec("self_attn.q_proj", heads * headDim, hiddenSize, qkvBias),
      spec("self_attn.k_proj", kvHeads * headDim, hiddenSize, qkvBias),
      spec("self_attn.v_proj", kvHeads * headDim, hiddenSize, qkvBias),
    ],
    [spec("self_attn.o_proj", hiddenSize, heads * headDim, outputBias)],
    [
      spec("mlp.gate_proj", intermediateSize, hiddenSize, mlpBias),
      spec("mlp.up_proj", intermediateSize, hiddenSize, mlpBias),
    ],
    [spec("mlp.down_proj", hiddenSize, intermediateSize, mlpBias)],
  ];
}

/** The head's linear. */
export function headOf({ vocabSize, hiddenSize }: LlamaConfig): Linear {
  return { path: "lm_head", shape: { out: vocabSize, in: hiddenSize } };
}

/** The linears of a config's model, in the order plans number them. */
export function llamaLinears(config: LlamaConfig): Linear[] {
  const layers = Array.from({ length: config.layers }, (_, i) => layerLinears(config, i)).flat(2);
  return [...layers, headOf(config)].map(({ path, shape }) => ({ path, shape }));
}

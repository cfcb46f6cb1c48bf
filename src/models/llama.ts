/**
 * The Llama family (Llama, Mistral, Qwen2): its linears, and its weights by name.
 *
 * @module
 */
import type { Linear } from "../adapters/bank.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { slice, type Tensor, tensor } from "../tensor.ts";
import type { Bits } from "../../kernels/quantized/format.ts";
import type { LlamaConfig } from "./config.ts";
import { headOf, layerLinears, llamaLinears, perLayer } from "./llama_linears.ts";
import { Loader, type Projection, type WeightSource } from "./loader.ts";
import { bitsOf, type QuantizeTo } from "./quantization.ts";
import { fixedRopeLength, ropeTable } from "./rope.ts";
import { type LinearWeights, rowsOf, tensorsOf } from "./weights.ts";

export { llamaLinears } from "./llama_linears.ts";
export type { Projection, WeightSource } from "./loader.ts";

/** One layer's weights. */
export interface LayerWeights {
  readonly inputNorm: Tensor;
  readonly postNorm: Tensor;
  /** q_proj, k_proj and v_proj. */
  readonly qkv: Projection;
  readonly o: Projection;
  /** gate_proj and up_proj. */
  readonly gateUp: Projection;
  readonly down: Projection;
}

/** A model whose weights are on a device. */
export interface LlamaModel {
  readonly config: LlamaConfig;
  /** Longest sequence this model was opened for. */
  readonly maxModelLen: number;
  /** Every linear an adapter may adapt: seven a layer, then lm_head. */
  readonly linears: readonly Linear[];
  readonly embedding: Tensor;
  readonly layers: readonly LayerWeights[];
  readonly norm: Tensor;
  readonly head: Projection;
  /** (positions, headDim / 2, 2): of every position of sequences of up to `fixedRopeLength`. */
  readonly ropeTable: Tensor;
}

function quantizedBits({ quantization }: LlamaConfig, to: QuantizeTo | undefined): Bits | undefined {
  if (to === undefined) return undefined;
  if (!Object.hasOwn(bitsOf, to)) {
    throw new RangeError(`Cannot quantize as "${to}": it must be ${Object.keys(bitsOf).join(" or ")}`);
  }
  if (!quantization) return bitsOf[to];
  throw new ConfigError(
    `Cannot quantize the model as ${to}: its folder has weights of ${quantization.bits} bits already`,
  );
}

/**
 * Loads a model's weights onto a device, one tensor at a time.
 *
 * @param options `quantize` quantises the linears' weights on the way: it changes the model's numbers a little, and the
 * bytes that a step reads much.
 * @throws ConfigError when a weight is missing, misshapen or unknown, or is to be quantised for a second time.
 */
export async function loadLlama(
  device: Device,
  { config, source, maxModelLen = config.maxPositions, quantize, onWeight = () => {}, log = () => {} }: {
    readonly config: LlamaConfig;
    readonly source: WeightSource;
    readonly maxModelLen?: number;
    readonly quantize?: QuantizeTo;
    readonly onWeight?: (done: number, total: number) => void;
    /** Told of what the folder says and nobody reads. */
    readonly log?: (line: string) => void;
  },
): Promise<LlamaModel> {
  const { hiddenSize } = config;
  const loader = new Loader(device, source, {
    stored: config.quantization?.bits,
    bits: quantizedBits(config, quantize),
    onWeight,
    log,
  });
  const { embedding, head } = await loader.ends(config);
  const layers: LayerWeights[] = [];
  for (let i = 0; i < config.layers; i++) {
    const [qkv, o, gateUp, down] = layerLinears(config, i);
    const first = perLayer * i;
    layers.push({
      qkv: await loader.projection(qkv, first),
      o: await loader.projection(o, first + 3),
      gateUp: await loader.projection(gateUp, first + 4),
      down: await loader.projection(down, first + 6),
      inputNorm: await loader.load(`model.layers.${i}.input_layernorm.weight`, [hiddenSize]),
      postNorm: await loader.load(`model.layers.${i}.post_attention_layernorm.weight`, [hiddenSize]),
    });
  }
  const norm = await loader.load("model.norm.weight", [hiddenSize]);
  await loader.finish(config);
  const positions = Math.min(maxModelLen, fixedRopeLength(config));
  const table = tensor(ropeTable(config, positions), [positions, config.headDim / 2, 2]);
  return {
    config,
    maxModelLen,
    linears: llamaLinears(config),
    embedding,
    layers,
    norm,
    head: {
      linears: { first: perLayer * config.layers, count: 1 },
      shape: headOf(config).shape,
      weight: head,
    },
    ropeTable: device.upload(table),
  };
}

/**
 * The weight and bias of a layer's linear by its number, as parts of its projection's, not copied.
 *
 * @throws RangeError where such a part does not begin at a multiple of 256 bytes, on a GPU; in real models it does.
 */
export function linearWeights({ layers, linears }: LlamaModel, index: number): LinearWeights {
  const { qkv, o, gateUp, down } = layers[Math.floor(index / perLayer)];
  const { weight, bias, linears: { first } } = [down, gateUp, o, qkv].find(({ linears }) =>
    index >= linears.first
  )!;
  const { out } = linears[index].shape;
  const at = linears.slice(first, index).reduce((sum, { shape }) => sum + shape.out, 0);
  const part = rowsOf(weight, { at, out });
  return bias ? { weight: part, bias: slice(bias, at, out) } : { weight: part };
}

/** Frees a model's weights. */
export function releaseLlama(device: Device, { embedding, layers, norm, head, ropeTable }: LlamaModel): void {
  const projections = [...layers.flatMap(({ qkv, o, gateUp, down }) => [qkv, o, gateUp, down]), head];
  const norms = [norm, ...layers.flatMap(({ inputNorm, postNorm }) => [inputNorm, postNorm])];
  const weights = projections.flatMap(tensorsOf);
  // A tied head may be the embedding itself.
  for (const t of new Set([embedding, ...norms, ...weights, ropeTable])) device.release(t);
}

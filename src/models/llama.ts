/**
 * The Llama family (Llama, Mistral, Qwen2): its linears, and its weights by name.
 *
 * @module
 */
import type { Linear, LinearGroup } from "../adapters/bank.ts";
import type { LinearShape } from "../adapters/method.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { type DType, elements, type HostTensor, newArray, slice, type Tensor, tensor } from "../tensor.ts";
import { widen } from "../../kernels/half.ts";
import type { Bits } from "../../kernels/quantized/format.ts";
import { type LlamaConfig, ropeTable } from "./config.ts";
import { bitsOf, headBits, quantizedNames, type QuantizeTo } from "./quantization.ts";
import {
  isQuantized,
  type LinearWeights,
  quantizedShapes,
  quantizeTensor,
  tensorsOf,
  type Weight,
} from "./weights.ts";

/** Weights by name, one at a time. */
export interface WeightSource {
  readonly names: readonly string[];
  info(name: string): { readonly shape: readonly number[] };
  read(name: string): Promise<HostTensor>;
}

/** Linears that share their input, as one: their weights and biases stand one after the other along `out`. */
export interface Projection extends LinearWeights {
  /** Which of the model's linears. */
  readonly linears: LinearGroup;
  /** Of the whole weight. */
  readonly shape: LinearShape;
}

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
  readonly ropeTable: Tensor;
}

interface LinearSpec extends Linear {
  readonly bias: boolean;
}

/** Linears of a layer. */
const perLayer = 7;

/** A layer's linears in their order, those that share their input together. */
function layerLinears(config: LlamaConfig, layer: number): readonly (readonly LinearSpec[])[] {
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

function headOf({ vocabSize, hiddenSize }: LlamaConfig): Linear {
  return { path: "lm_head", shape: { out: vocabSize, in: hiddenSize } };
}

/** The linears of a config's model, in the order plans number them. */
export function llamaLinears(config: LlamaConfig): Linear[] {
  const layers = Array.from({ length: config.layers }, (_, i) => layerLinears(config, i)).flat(2);
  return [...layers, headOf(config)].map(({ path, shape }) => ({ path, shape }));
}

const float32 = ({ data, dtype, shape }: HostTensor): HostTensor => tensor(widen(data, dtype), shape);

/** Tensors one after the other along their first dimension; float32 where their dtypes differ. */
function stacked(parts: readonly HostTensor[]): HostTensor {
  if (parts.length === 1) return parts[0];
  const [{ dtype, shape: [, ...rest] }] = parts;
  if (parts.some((part) => part.dtype !== dtype)) return stacked(parts.map(float32));
  const shape = [parts.reduce((sum, part) => sum + part.shape[0], 0), ...rest];
  const data = newArray(dtype, elements(shape));
  let at = 0;
  for (const part of parts) {
    data.set(part.data, at);
    at += part.data.length;
  }
  return tensor(data, shape, { dtype });
}

/** Weights one after the other along `out`; all are quantised, or none is. */
function stackedWeights(parts: readonly Weight<HostTensor>[]): Weight<HostTensor> {
  const quantized = parts.filter(isQuantized);
  if (quantized.length === 0) return stacked(parts as readonly HostTensor[]);
  return {
    bits: quantized[0].bits,
    words: stacked(quantized.map(({ words }) => words)),
    scales: stacked(quantized.map(({ scales }) => scales)),
  };
}

/** Reads each weight once, checks its shape, and remembers which were asked for. */
class Loader {
  readonly #used = new Set<string>();

  constructor(
    private readonly device: Device,
    private readonly source: WeightSource,
    private readonly options: {
      /** Bits of the layers' linears in the folder. */
      readonly stored?: Bits;
      /** Bits that they are quantised to. */
      readonly bits?: Bits;
      readonly onWeight: (done: number, total: number) => void;
    },
  ) {}

  async load(name: string, shape: readonly number[]): Promise<Tensor> {
    return this.device.upload(await this.#read(name, shape));
  }

  /** Linears of one input as one; the first is number `first` of the model's. */
  async projection(specs: readonly LinearSpec[], first: number): Promise<Projection> {
    const { stored, bits } = this.options;
    const weights: Weight<HostTensor>[] = [];
    const biases: HostTensor[] = [];
    for (const spec of specs) {
      weights.push(await this.#weight(spec, { stored, bits }));
      if (spec.bias) biases.push(float32(await this.#read(`${spec.path}.bias`, [spec.shape.out])));
    }
    const out = specs.reduce((sum, { shape }) => sum + shape.out, 0);
    const made: Projection = {
      linears: { first, count: specs.length },
      shape: { out, in: specs[0].shape.in },
      weight: this.#upload(stackedWeights(weights)),
    };
    return biases.length === 0 ? made : { ...made, bias: this.device.upload(stacked(biases)) };
  }

  /** The embedding, and the head's weight: the same tensor where they are tied and not quantised. */
  async ends(config: LlamaConfig): Promise<{ readonly embedding: Tensor; readonly head: Weight }> {
    const { stored, bits } = this.options;
    const host = await this.#read("model.embed_tokens.weight", [config.vocabSize, config.hiddenSize]);
    const embedding = this.device.upload(host);
    if (config.tieWordEmbeddings && stored === undefined) {
      if (bits === undefined) return { embedding, head: embedding };
      return { embedding, head: this.#upload(quantizeTensor(host, { name: "lm_head", bits: headBits })) };
    }
    const head = await this.#weight(headOf(config), { stored: stored && headBits, bits: bits && headBits });
    return { embedding, head: this.#upload(head) };
  }

  /** A linear's weight: as the folder has it, `stored` in so many bits, or quantised to `bits`. */
  async #weight(
    { path, shape }: Linear,
    { stored, bits }: { readonly stored?: Bits; readonly bits?: Bits },
  ): Promise<Weight<HostTensor>> {
    if (stored === undefined) {
      const host = await this.#read(`${path}.weight`, [shape.out, shape.in]);
      return bits === undefined ? host : quantizeTensor(host, { name: path, bits });
    }
    const names = quantizedNames(path);
    const shapes = quantizedShapes([shape.out, shape.in], stored);
    return {
      bits: stored,
      words: await this.#read(names.words, shapes.words, "uint32"),
      scales: await this.#read(names.scales, shapes.scales, "bfloat16"),
    };
  }

  #upload(weight: Weight<HostTensor>): Weight {
    if (!isQuantized(weight)) return this.device.upload(weight);
    const { bits, words, scales } = weight;
    return { bits, words: this.device.upload(words), scales: this.device.upload(scales) };
  }

  async #read(name: string, shape: readonly number[], dtype?: DType): Promise<HostTensor> {
    if (!this.source.names.includes(name)) {
      throw new ConfigError(`Cannot find weight "${name}" in the model's folder`);
    }
    const { shape: found } = this.source.info(name);
    if (found.length !== shape.length || found.some((size, i) => size !== shape[i])) {
      throw new ConfigError(
        `Cannot use weight "${name}" of shape [${found}]: config.json makes it [${shape}]`,
      );
    }
    const host = await this.source.read(name);
    if (dtype !== undefined && host.dtype !== dtype) {
      throw new ConfigError(`Cannot use weight "${name}" of ${host.dtype}: config.json makes it ${dtype}`);
    }
    this.#used.add(name);
    this.options.onWeight(this.#used.size, this.source.names.length);
    return host;
  }

  /** A weight nobody asked for means that the model computes something this code does not. */
  finish(ignored: RegExp): void {
    const rest = this.source.names.filter((name) => !this.#used.has(name) && !ignored.test(name));
    if (rest.length === 0) return;
    const more = rest.length > 1 ? ` and ${rest.length - 1} more` : "";
    throw new ConfigError(
      `Cannot use weight "${rest[0]}"${more}: a model of this config has none of that name`,
    );
  }
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
  { config, source, maxModelLen = config.maxPositions, quantize, onWeight = () => {} }: {
    readonly config: LlamaConfig;
    readonly source: WeightSource;
    readonly maxModelLen?: number;
    readonly quantize?: QuantizeTo;
    readonly onWeight?: (done: number, total: number) => void;
  },
): Promise<LlamaModel> {
  const { hiddenSize } = config;
  const loader = new Loader(device, source, {
    stored: config.quantization?.bits,
    bits: quantizedBits(config, quantize),
    onWeight,
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
  loader.finish(
    config.tieWordEmbeddings ? /rotary_emb\.inv_freq$|^lm_head\.weight$/ : /rotary_emb\.inv_freq$/,
  );
  const table = tensor(ropeTable(config, maxModelLen), [maxModelLen, config.headDim / 2, 2]);
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

/** `out` rows of a weight from row `at` on, not copied. */
function rowsOf(weight: Weight, { at, out }: { readonly at: number; readonly out: number }): Weight {
  const part = (t: Tensor): Tensor => slice(t, at * t.shape[1], [out, t.shape[1]]);
  if (!isQuantized(weight)) return part(weight);
  return { bits: weight.bits, words: part(weight.words), scales: part(weight.scales) };
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

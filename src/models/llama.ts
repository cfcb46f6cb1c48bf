/**
 * The Llama family (Llama, Mistral, Qwen2): weights by name, and one step of a batch as a plan.
 *
 * A step takes rows: each a token of some sequence, with its position, its place in the key-value cache and its adapter.
 * Prompts and new tokens of different sequences stand side by side in one step.
 *
 * @module
 */
import { attention } from "../../kernels/attention.ts";
import { embedding } from "../../kernels/embedding.ts";
import { rmsNorm } from "../../kernels/rms_norm.ts";
import { rope } from "../../kernels/rope.ts";
import { sample } from "../../kernels/sample.ts";
import { scatterRows } from "../../kernels/scatter_rows.ts";
import { siluGate } from "../../kernels/silu_gate.ts";
import type { Linear } from "../adapters/bank.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { type Plan, type Step, step } from "../plan.ts";
import { type DType, type HostTensor, type Tensor, tensor } from "../tensor.ts";
import { widen } from "../../kernels/half.ts";
import type { Bits } from "../../kernels/quantized/format.ts";
import { type LlamaConfig, ropeTable } from "./config.ts";
import { bitsOf, headBits, quantizedNames, type QuantizeTo } from "./quantization.ts";
import {
  isQuantized,
  linearStep,
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

interface LayerWeights {
  readonly inputNorm: Tensor;
  readonly postNorm: Tensor;
  /** q, k, v, o, gate, up, down. */
  readonly linears: readonly LinearWeights[];
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
  readonly head: LinearWeights;
  readonly ropeTable: Tensor;
}

interface LinearSpec extends Linear {
  readonly bias: boolean;
}

function layerLinears(config: LlamaConfig, layer: number): LinearSpec[] {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim, qkvBias, outputBias, mlpBias } = config;
  const at = `model.layers.${layer}.`;
  const spec = (name: string, out: number, inFeatures: number, bias: boolean): LinearSpec => ({
    path: at + name,
    shape: { out, in: inFeatures },
    bias,
  });
  return [
    spec("self_attn.q_proj", heads * headDim, hiddenSize, qkvBias),
    spec("self_attn.k_proj", kvHeads * headDim, hiddenSize, qkvBias),
    spec("self_attn.v_proj", kvHeads * headDim, hiddenSize, qkvBias),
    spec("self_attn.o_proj", hiddenSize, heads * headDim, outputBias),
    spec("mlp.gate_proj", intermediateSize, hiddenSize, mlpBias),
    spec("mlp.up_proj", intermediateSize, hiddenSize, mlpBias),
    spec("mlp.down_proj", hiddenSize, intermediateSize, mlpBias),
  ];
}

function headOf({ vocabSize, hiddenSize }: Pick<LlamaConfig, "vocabSize" | "hiddenSize">): Linear {
  return { path: "lm_head", shape: { out: vocabSize, in: hiddenSize } };
}

/** The linears of a config's model, in the order plans number them. */
export function llamaLinears(config: LlamaConfig): Linear[] {
  const layers = Array.from({ length: config.layers }, (_, i) => layerLinears(config, i)).flat();
  return [...layers, headOf(config)].map(({ path, shape }) => ({ path, shape }));
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

  async read(name: string, shape: readonly number[], dtype?: DType): Promise<HostTensor> {
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

  async load(name: string, shape: readonly number[], options: { float32?: boolean } = {}): Promise<Tensor> {
    const host = await this.read(name, shape);
    return this.device.upload(options.float32 ? tensor(widen(host.data, host.dtype), shape) : host);
  }

  /** A linear's weight as the folder has it. */
  async weight({ path, shape }: Linear, stored = this.options.stored): Promise<Weight<HostTensor>> {
    if (stored === undefined) return await this.read(`${path}.weight`, [shape.out, shape.in]);
    const names = quantizedNames(path);
    const shapes = quantizedShapes([shape.out, shape.in], stored);
    return {
      bits: stored,
      words: await this.read(names.words, shapes.words, "uint32"),
      scales: await this.read(names.scales, shapes.scales, "bfloat16"),
    };
  }

  /** The one place where a linear's weight goes to the device: it is quantised here, if it was asked for. */
  upload(name: string, host: Weight<HostTensor>, bits = this.options.bits): Weight {
    const weight = bits === undefined || isQuantized(host) ? host : quantizeTensor(host, { name, bits });
    if (!isQuantized(weight)) return this.device.upload(weight);
    const { words, scales } = weight;
    return { bits: weight.bits, words: this.device.upload(words), scales: this.device.upload(scales) };
  }

  async linear(spec: LinearSpec): Promise<LinearWeights> {
    const weight = this.upload(spec.path, await this.weight(spec));
    return spec.bias
      ? { weight, bias: await this.load(`${spec.path}.bias`, [spec.shape.out], { float32: true }) }
      : { weight };
  }

  /** The embedding, and the head: the same tensor where they are tied and not quantised. */
  async ends(
    { vocabSize, hiddenSize, tieWordEmbeddings }: LlamaConfig,
  ): Promise<{ readonly embedding: Tensor; readonly head: LinearWeights }> {
    const { stored, bits } = this.options;
    const host = await this.read("model.embed_tokens.weight", [vocabSize, hiddenSize]);
    const embedding = this.device.upload(host);
    if (tieWordEmbeddings && stored === undefined) {
      return {
        embedding,
        head: { weight: bits === undefined ? embedding : this.upload("lm_head", host, headBits) },
      };
    }
    const head = await this.weight(headOf({ vocabSize, hiddenSize }), stored && headBits);
    return { embedding, head: { weight: this.upload("lm_head", head, bits && headBits) } };
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
    const linears: LinearWeights[] = [];
    for (const spec of layerLinears(config, i)) linears.push(await loader.linear(spec));
    layers.push({
      inputNorm: await loader.load(`model.layers.${i}.input_layernorm.weight`, [hiddenSize]),
      postNorm: await loader.load(`model.layers.${i}.post_attention_layernorm.weight`, [hiddenSize]),
      linears,
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
    head,
    ropeTable: device.upload(table),
  };
}

/** Frees a model's weights. */
export function releaseLlama(device: Device, { embedding, layers, norm, head, ropeTable }: LlamaModel): void {
  const linears = [...layers.flatMap((layer) => layer.linears), head];
  const norms = [norm, ...layers.flatMap(({ inputNorm, postNorm }) => [inputNorm, postNorm])];
  const weights = linears.flatMap(tensorsOf);
  // A tied head may be the embedding itself.
  for (const t of new Set([embedding, ...norms, ...weights, ropeTable])) device.release(t);
}

/** Tensors a model's steps work in; made once for the most rows and outputs a step may have. */
export interface LlamaState {
  readonly maxRows: number;
  readonly maxOutputs: number;
  /** Rows of each cache: sequences times tokens a sequence. */
  readonly cacheRows: number;
  /** (maxRows), uint32: token, position, cache row to write, cache row where the sequence starts. */
  readonly tokens: Tensor;
  readonly positions: Tensor;
  readonly cacheIndex: Tensor;
  readonly first: Tensor;
  /** (maxOutputs), uint32: rows whose logits are wanted. */
  readonly outputs: Tensor;
  /** (maxOutputs, 4), float32: see the `sample` kernel. */
  readonly params: Tensor;
  readonly logits: Tensor;
  /** (maxOutputs), uint32. */
  readonly sampled: Tensor;
  readonly hidden: Tensor;
  readonly normed: Tensor;
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly attended: Tensor;
  readonly gate: Tensor;
  readonly up: Tensor;
  readonly gated: Tensor;
  readonly outputHidden: Tensor;
  readonly outputNormed: Tensor;
  readonly keys: readonly Tensor[];
  readonly values: readonly Tensor[];
}

/** Allocates the tensors of a model's steps. */
export function llamaState(
  device: Device,
  { config }: LlamaModel,
  size: { readonly maxRows: number; readonly maxOutputs: number; readonly cacheRows: number },
): LlamaState {
  const { maxRows, maxOutputs, cacheRows } = size;
  const f32 = (...shape: number[]): Tensor => device.alloc(shape, "float32");
  const u32 = (...shape: number[]): Tensor => device.alloc(shape, "uint32");
  const qSize = config.heads * config.headDim;
  const kvSize = config.kvHeads * config.headDim;
  return {
    ...size,
    tokens: u32(maxRows),
    positions: u32(maxRows),
    cacheIndex: u32(maxRows),
    first: u32(maxRows),
    outputs: u32(maxOutputs),
    params: f32(maxOutputs, 4),
    logits: f32(maxOutputs, config.vocabSize),
    sampled: u32(maxOutputs),
    hidden: f32(maxRows, config.hiddenSize),
    normed: f32(maxRows, config.hiddenSize),
    q: f32(maxRows, qSize),
    k: f32(maxRows, kvSize),
    v: f32(maxRows, kvSize),
    attended: f32(maxRows, qSize),
    gate: f32(maxRows, config.intermediateSize),
    up: f32(maxRows, config.intermediateSize),
    gated: f32(maxRows, config.intermediateSize),
    outputHidden: f32(maxOutputs, config.hiddenSize),
    outputNormed: f32(maxOutputs, config.hiddenSize),
    keys: Array.from({ length: config.layers }, () => f32(cacheRows, kvSize)),
    values: Array.from({ length: config.layers }, () => f32(cacheRows, kvSize)),
  };
}

/** A step's adapters: given a linear's number and its tensors, the steps that add each row's adapter. */
export type AdapterSteps = (
  layer: number,
  io: { readonly x: Tensor; readonly y: Tensor; readonly rows: number; readonly of: "rows" | "outputs" },
) => readonly Step[];

/** The plan of one step: `rows` tokens through the layers, then logits and a sampled token for `outputs` of them. */
export function llamaPlan(
  { config, layers, linears, ...model }: LlamaModel,
  s: LlamaState,
  { rows, outputs, adapters }: {
    readonly rows: number;
    readonly outputs: number;
    readonly adapters: AdapterSteps;
  },
): Plan {
  const { hiddenSize, heads, kvHeads, headDim, intermediateSize, rmsNormEps, vocabSize } = config;
  const kvSize = kvHeads * headDim;
  const norm = (x: Tensor, weight: Tensor, y: Tensor, count = rows): Step =>
    step(rmsNorm, { x, weight, y }, { rows: count, dim: hiddenSize, eps: rmsNormEps });

  /** y = or += x W^T + b, and the rows' adapters. */
  function project(
    index: number,
    weights: LinearWeights,
    io: { x: Tensor; y: Tensor; accumulate?: boolean; of?: "rows" | "outputs" },
  ): Step[] {
    const { out, in: inFeatures } = linears[index].shape;
    const { x, y, of = "rows" } = io;
    const count = of === "rows" ? rows : outputs;
    const sizes = { rows: count, in: inFeatures, out, accumulate: Number(io.accumulate ?? false) };
    return [linearStep(weights, { x, y }, sizes), ...adapters(index, { x, y, rows: count, of })];
  }

  const steps: Step[] = [
    step(embedding, { ids: s.tokens, weight: model.embedding, y: s.hidden }, {
      rows,
      dim: hiddenSize,
      vocab: vocabSize,
    }),
  ];
  layers.forEach((layer, i) => {
    const [q, k, v, o, gate, up, down] = layer.linears;
    const at = 7 * i;
    const cache = (x: Tensor, y: Tensor): Step =>
      step(scatterRows, { x, index: s.cacheIndex, y }, { rows, dim: kvSize, yRows: s.cacheRows });
    const turn = (x: Tensor, count: number): Step =>
      step(rope, { x, table: model.ropeTable, positions: s.positions }, { rows, heads: count, headDim });
    steps.push(
      norm(s.hidden, layer.inputNorm, s.normed),
      ...project(at, q, { x: s.normed, y: s.q }),
      ...project(at + 1, k, { x: s.normed, y: s.k }),
      ...project(at + 2, v, { x: s.normed, y: s.v }),
      turn(s.q, heads),
      turn(s.k, kvHeads),
      cache(s.k, s.keys[i]),
      cache(s.v, s.values[i]),
      step(
        attention,
        {
          q: s.q,
          keys: s.keys[i],
          values: s.values[i],
          first: s.first,
          positions: s.positions,
          y: s.attended,
        },
        { rows, heads, kvHeads, headDim, cacheRows: s.cacheRows, scale: 1 / Math.sqrt(headDim) },
      ),
      ...project(at + 3, o, { x: s.attended, y: s.hidden, accumulate: true }),
      norm(s.hidden, layer.postNorm, s.normed),
      ...project(at + 4, gate, { x: s.normed, y: s.gate }),
      ...project(at + 5, up, { x: s.normed, y: s.up }),
      step(siluGate, { gate: s.gate, up: s.up, y: s.gated }, { count: rows * intermediateSize }),
      ...project(at + 6, down, { x: s.gated, y: s.hidden, accumulate: true }),
    );
  });
  if (outputs === 0) return steps;
  steps.push(
    step(embedding, { ids: s.outputs, weight: s.hidden, y: s.outputHidden }, {
      rows: outputs,
      dim: hiddenSize,
      vocab: s.maxRows,
    }),
    norm(s.outputHidden, model.norm, s.outputNormed, outputs),
    ...project(linears.length - 1, model.head, { x: s.outputNormed, y: s.logits, of: "outputs" }),
    step(sample, { logits: s.logits, params: s.params, tokens: s.sampled }, {
      rows: outputs,
      vocab: vocabSize,
    }),
  );
  return steps;
}

/**
 * Weights from a folder onto a device: each read once, checked, and quantised where that was asked for.
 *
 * @module
 */
import type { Linear, LinearGroup } from "../adapters/bank.ts";
import type { LinearShape } from "../adapters/method.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { type DType, elements, type HostTensor, newArray, type Tensor, tensor } from "../tensor.ts";
import { widen } from "../../kernels/half.ts";
import type { Bits } from "../../kernels/quantized/format.ts";
import type { LlamaConfig } from "./config.ts";
import { headOf, type LinearSpec } from "./llama_linears.ts";
import { headBits, quantizedNames } from "./quantization.ts";
import { plainFrequencies, ropeFrequencies } from "./rope.ts";
import { isQuantized, type LinearWeights, quantizedShapes, quantizeTensor, type Weight } from "./weights.ts";

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

const embeddingName = "model.embed_tokens.weight";
const headName = "lm_head.weight";

/** Buffers of old files. */
const inverseFrequencies = /(^|\.)rotary_emb\.inv_freq$/;

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

/** Whether two tensors of one shape hold the same numbers; each may be stored as another float type. */
function sameNumbers(a: HostTensor, b: HostTensor): boolean {
  const [x, y] = a.dtype === b.dtype ? [a.data, b.data] : [widen(a.data, a.dtype), widen(b.data, b.dtype)];
  return x.length === y.length && x.every((value: number, i: number) => value === y[i]);
}

/** Reads each weight once, checks its shape, and remembers which were asked for. */
export class Loader {
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
      readonly log: (line: string) => void;
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
    const host = await this.#embedding(config);
    const embedding = this.device.upload(host);
    if (config.tieWordEmbeddings && stored === undefined && !await this.#hasOwnHead(config, host)) {
      if (bits === undefined) return { embedding, head: embedding };
      return { embedding, head: this.#upload(quantizeTensor(host, { name: "lm_head", bits: headBits })) };
    }
    const head = await this.#weight(headOf(config), { stored: stored && headBits, bits: bits && headBits });
    return { embedding, head: this.#upload(head) };
  }

  /** A tied model's file may have the embedding under the head's name alone. */
  async #embedding({ tieWordEmbeddings, vocabSize, hiddenSize }: LlamaConfig): Promise<HostTensor> {
    const { names } = this.source;
    const isHead = tieWordEmbeddings && !names.includes(embeddingName) && names.includes(headName);
    return await this.#read(isHead ? headName : embeddingName, [vocabSize, hiddenSize]);
  }

  /** Whether a tied model's file has a head that differs from its embedding: as in transformers, it is used. */
  async #hasOwnHead({ vocabSize, hiddenSize }: LlamaConfig, embedding: HostTensor): Promise<boolean> {
    if (!this.source.names.includes(headName)) return false;
    return !sameNumbers(await this.#read(headName, [vocabSize, hiddenSize]), embedding);
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
    const isInteger = host.dtype === "int32" || host.dtype === "uint32";
    if (dtype === undefined ? isInteger : host.dtype !== dtype) {
      throw new ConfigError(
        `Cannot use weight "${name}" of ${host.dtype}: config.json makes it ${dtype ?? "floats"}`,
      );
    }
    this.#used.add(name);
    this.options.onWeight(this.#used.size, this.source.names.length);
    return host;
  }

  /**
   * A weight nobody asked for means that the model computes something this code does not. Tensors without elements hold
   * nothing. Old files have rotary frequencies, which transformers does not read: they are compared.
   */
  async finish(config: LlamaConfig): Promise<void> {
    const { names } = this.source;
    const unread = names.filter((name) =>
      !this.#used.has(name) && elements(this.source.info(name).shape) > 0
    );
    const rest = unread.filter((name) => !inverseFrequencies.test(name));
    if (rest.length === 0) return await this.#compareFrequencies(config, unread);
    const more = rest.length > 1 ? ` and ${rest.length - 1} more` : "";
    throw new ConfigError(
      `Cannot use weight "${rest[0]}"${more}: a model of this config has none of that name`,
    );
  }

  /** Files of models with scaling have the frequencies before it, or after. */
  async #compareFrequencies(config: LlamaConfig, names: readonly string[]): Promise<void> {
    const known = [ropeFrequencies(config), plainFrequencies(config)];
    for (const name of names) {
      const { data, dtype } = await this.source.read(name);
      const found = widen(data, dtype);
      const near = (f: number, i: number): boolean => Math.abs(f - found[i]) <= 1e-2 * f + 1e-6;
      if (known.some((expected) => expected.length === found.length && expected.every(near))) continue;
      this.options.log(
        `weight "${name}" is not read: its frequencies differ from those of config.json, which are used`,
      );
      return;
    }
  }
}

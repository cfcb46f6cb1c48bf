/**
 * A model folder and an adapter store to an engine that answers requests.
 *
 * @module
 */
import { AdapterRegistry, type AdapterStore, type RegistryOptions } from "./adapters/registry.ts";
import type { Device } from "./device/device.ts";
import { modelBase } from "./engine/base.ts";
import { BatchEngine, type EngineOptions } from "./engine/batch_engine.ts";
import { Encoder, type EncoderOptions, type Pooling } from "./engine/encoder.ts";
import type { ReadableFolder } from "./folder.ts";
import { classifierNames, readClassifier } from "./models/classifier.ts";
import { copyFaults } from "./models/copies.ts";
import { adapterPaths, openWeights, pathsOf, readConfig, readGeneratorConfig } from "./models/families.ts";
import type { ModelConfig } from "./models/family.ts";
import { type EncoderModel, loadEncoder, loadModel, type Model } from "./models/model.ts";
import { type ImageProcessing, readImageProcessing } from "./models/image_processing.ts";
import { readPooling } from "./models/pooling_config.ts";
import type { QuantizeTo } from "./models/quantization.ts";
import { openTokenizer } from "./models/tokenizer.ts";
import type { PairTokenizer, Tokenizer } from "./models/tokenizer_types.ts";

/** How a model is opened. */
export interface OpenModelOptions {
  /** A Hugging Face model folder. */
  readonly folder: ReadableFolder;
  /** Where requests' adapters are found; absent for the base model alone. */
  readonly adapters?: AdapterStore;
  /** Longest sequence; at most, and by default, the config's (8192 if that is longer). */
  readonly maxModelLen?: number;
  /** Quantises the linears' weights on their way to the device; not for a folder whose weights are quantised already. */
  readonly quantize?: QuantizeTo;
  /** When the engine of chat templates is loaded: `now` (default), or `later` by the tokenizer's `prepareChat`. */
  readonly chat?: "now" | "later";
  readonly engine?: Omit<EngineOptions, "eosTokenIds">;
  readonly registry?: Omit<RegistryOptions, "linears" | "base" | "parameters" | "copyFault">;
  /** Called after each weight. */
  readonly onWeight?: (done: number, total: number) => void;
}

/** A model ready to generate. */
export interface OpenModel {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly registry: AdapterRegistry;
  readonly engine: BatchEngine;
}

/** Longest sequence a model is opened for unless told: caches are allocated for whole sequences. */
export const defaultMaxModelLen = 8192;

const noAdapters: AdapterStore = { list: () => Promise.resolve([]), open: () => Promise.resolve(undefined) };

/** The longest sequence that a model is opened for. */
function lengthOf({ maxPositions }: ModelConfig, asked = Math.min(maxPositions, defaultMaxModelLen)): number {
  if (Number.isInteger(asked) && asked >= 1 && asked <= maxPositions) return asked;
  throw new RangeError(
    `Cannot open the model for ${asked} tokens: it has positions for 1..${maxPositions}`,
  );
}

/**
 * Opens a model on a device: config, weights, tokenizer, adapters, engine.
 *
 * @throws ConfigError or SafetensorsError that names the file and the rule it breaks; RangeError for `maxModelLen`.
 */
export async function openModel(device: Device, options: OpenModelOptions): Promise<OpenModel> {
  const { folder } = options;
  const config = await readGeneratorConfig(folder, "generate with");
  const maxModelLen = lengthOf(config, options.maxModelLen);
  const tokenizer = await openTokenizer(folder, { chat: options.chat });
  const source = await openWeights(folder, config);
  const model = await loadModel(device, {
    config,
    source,
    maxModelLen,
    quantize: options.quantize,
    onWeight: options.onWeight,
    log: options.registry?.log,
  }).finally(() => source.close());
  const registry = new AdapterRegistry(device, options.adapters ?? noAdapters, {
    ...options.registry,
    linears: model.linears,
    base: modelBase(device, model),
    parameters: model.parameters,
    copyFault: copyFaults(folder),
    ...adapterPaths(config),
  });
  const engine = new BatchEngine(device, model, {
    registry,
    options: { ...options.engine, eosTokenIds: tokenizer.eosTokenIds },
  });
  return { model, tokenizer, registry, engine };
}

/** How an encoder is opened. */
export interface OpenEncoderOptions extends Omit<OpenModelOptions, "engine" | "registry" | "chat"> {
  readonly registry?: Omit<
    RegistryOptions,
    "linears" | "base" | "parameters" | "copyFault" | "pathOf" | "isOthers" | "labels"
  >;
  readonly encoder?: EncoderOptions;
  /** How embeddings are made; by default as the folder's modules.json says, else their mean. */
  readonly pooling?: Pooling;
}

/** An encoder ready to encode. */
export interface OpenEncoder {
  readonly model: EncoderModel;
  /** Absent of models of images. */
  readonly tokenizer?: PairTokenizer;
  /** Of models of images whose folder says so: what is done to their bytes; see {@linkcode imagePixels}. */
  readonly image?: ImageProcessing;
  readonly registry: AdapterRegistry;
  readonly encoder: Encoder;
}

/**
 * Opens an encoder on a device: config, weights, tokenizer, adapters. A request's adapter may bring a classifier of its own
 * (PEFT's `modules_to_save`), of as many labels as it likes; the folder need not have one.
 *
 * @throws as {@linkcode openModel}; ConfigError for a model that generates.
 */
export async function openEncoder(device: Device, options: OpenEncoderOptions): Promise<OpenEncoder> {
  const { folder, adapters = noAdapters, quantize, onWeight, registry: { log, ...load } = {} } = options;
  const config = await readConfig(folder);
  const maxModelLen = lengthOf(config, options.maxModelLen);
  const tokenizer = config.encoder?.input === "tokens" ? await openTokenizer(folder) : undefined;
  const image = config.encoder?.input === "pixels" ? await readImageProcessing(folder) : undefined;
  const pooling = options.pooling ?? await readPooling(folder);
  const source = await openWeights(folder, config);
  try {
    const model = await loadEncoder(device, { config, source, maxModelLen, quantize, onWeight, log });
    const classifier = await readClassifier(source, model);
    const others = new Set(classifierNames(model));
    const registry = new AdapterRegistry(device, adapters, {
      ...{ ...load, log },
      linears: model.linears,
      base: modelBase(device, model),
      parameters: model.parameters,
      copyFault: copyFaults(folder),
      labels: true,
      pathOf: pathsOf({ model_type: config.modelType }),
      isOthers: (name) => others.has(name),
    });
    const encoder = new Encoder(device, model, { registry, classifier, pooling, options: options.encoder });
    return { model, tokenizer, image, registry, encoder };
  } finally {
    await source.close();
  }
}

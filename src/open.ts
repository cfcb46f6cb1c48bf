/**
 * A model folder and an adapter store to an engine that answers requests.
 *
 * @module
 */
import { AdapterRegistry, type AdapterStore, type RegistryOptions } from "./adapters/registry.ts";
import type { Device } from "./device/device.ts";
import { modelBase } from "./engine/base.ts";
import { BatchEngine, type EngineOptions } from "./engine/batch_engine.ts";
import type { ReadableFolder } from "./folder.ts";
import { copyFaults } from "./models/copies.ts";
import { openWeights, readConfig } from "./models/families.ts";
import { loadModel, type Model } from "./models/model.ts";
import type { QuantizeTo } from "./models/quantization.ts";
import { openTokenizer } from "./models/tokenizer.ts";
import type { Tokenizer } from "./models/tokenizer_types.ts";

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

/**
 * Opens a model on a device: config, weights, tokenizer, adapters, engine.
 *
 * @throws ConfigError or SafetensorsError that names the file and the rule it breaks; RangeError for `maxModelLen`.
 */
export async function openModel(device: Device, options: OpenModelOptions): Promise<OpenModel> {
  const { folder } = options;
  const config = await readConfig(folder);
  const maxModelLen = options.maxModelLen ?? Math.min(config.maxPositions, defaultMaxModelLen);
  if (!Number.isInteger(maxModelLen) || maxModelLen < 1 || maxModelLen > config.maxPositions) {
    throw new RangeError(
      `Cannot open the model for ${maxModelLen} tokens: it has positions for 1..${config.maxPositions}`,
    );
  }
  const tokenizer = await openTokenizer(folder);
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
  });
  const engine = new BatchEngine(device, model, {
    registry,
    options: { ...options.engine, eosTokenIds: tokenizer.eosTokenIds },
  });
  return { model, tokenizer, registry, engine };
}

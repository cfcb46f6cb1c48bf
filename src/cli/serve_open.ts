/**
 * Opens what `fourierft serve` serves.
 *
 * @module
 */
import type { KvCacheDtype } from "../../kernels/caches/mod.ts";
import type { AdapterRegistry, AdapterStore } from "../adapters/registry.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { withFallback } from "../failover.ts";
import type { ReadableFolder } from "../folder.ts";
import { readConfig } from "../models/families.ts";
import type { QuantizeTo } from "../models/quantization.ts";
import type { OpenGpuOptions } from "../runtime/gpu.ts";
import { openGrammars } from "../runtime/mod.ts";
import type { ServerDeps } from "../server/mod.ts";
import { log, type NamedDevice, openNamedDevice, openNamedEncoder, openNamedModel } from "./open.ts";

/** What is opened to be served. */
export interface Opened {
  /** What `createApp` is given. */
  readonly deps: Pick<ServerDeps, "model" | "encoder" | "adapters">;
  readonly registry: AdapterRegistry;
  readonly maxModelLen: number;
}

/** How it is opened. */
export interface Opening {
  readonly id: string;
  readonly folder: ReadableFolder;
  readonly adapters?: AdapterStore;
  readonly maxModelLen?: number;
  readonly maxStepTokens?: number;
  readonly maxSequences?: number;
  readonly cacheBytes?: number;
  readonly kvCacheDtype?: KvCacheDtype;
  readonly prefixCaching?: boolean;
  readonly maxWaiting?: number;
  readonly maxBurstsPerSecond?: number;
  /** How the model writes calls of tools. */
  readonly toolParser?: string;
  readonly maxAdapters?: number;
  readonly quantize?: QuantizeTo;
  /** Names of adapters that stay on the device. */
  readonly pins: Set<string>;
  /** What the model is opened on when its device is lost: each is tried once, in order; default none. */
  readonly replacements?: readonly NamedDevice[];
  readonly gpu?: OpenGpuOptions;
}

const nowUnixSeconds = (): number => Math.floor(Date.now() / 1000);

async function openGenerator(
  device: Device,
  { id, replacements = [], gpu, toolParser, ...options }: Opening,
): Promise<Opened> {
  const open = (on: Device) => openNamedModel(on, options);
  const opened = await open(device), { tokenizer, registry, model: { maxModelLen } } = opened;
  if (device.tunes) log("device: prepares steps of every size; a first start takes some seconds");
  await opened.engine.warm();
  let last = device;
  const reopen = replacements.map((named) => async () => {
    // A lost device may still hold memory that the next one needs.
    last.destroy();
    last = await openNamedDevice(named, gpu);
    return await open(last);
  });
  const { maxWaiting } = options;
  const { engine, registry: adapters } = withFallback(opened, { reopen, maxWaiting, log });
  const grammars = openGrammars(tokenizer, { vocabSize: engine.vocabSize });
  const model = { id, createdUnixSeconds: nowUnixSeconds(), engine, tokenizer, grammars, toolParser };
  return { deps: { model, adapters }, registry, maxModelLen };
}

async function openServedEncoder(
  device: Device,
  { id, folder, adapters, kvCacheDtype = "float32", ...options }: Opening,
): Promise<Opened> {
  if (kvCacheDtype !== "float32") {
    throw new ConfigError(
      `Cannot serve model ${id} with a key-value cache of ${kvCacheDtype}: an encoder has none`,
    );
  }
  const { maxStepTokens: maxBatchRows, maxSequences: maxBatchSequences, maxWaiting } = options;
  const { maxModelLen, quantize, maxAdapters, pins } = options;
  const { encoder, tokenizer, registry } = await openNamedEncoder(device, {
    ...{ folder, adapters, maxModelLen, quantize, maxAdapters, pins },
    encoder: { maxBatchRows, maxBatchSequences, maxWaiting },
  });
  if (!tokenizer) throw new ConfigError(`Cannot serve model ${id}: no route takes images`);
  const served = { id, createdUnixSeconds: nowUnixSeconds(), encoder, tokenizer };
  return { deps: { encoder: served, adapters: registry }, registry, maxModelLen: encoder.maxModelLen };
}

/** Opens a model that generates, or an encoder, as its folder says. */
export async function openServed(device: Device, opening: Opening): Promise<Opened> {
  const open = (await readConfig(opening.folder)).encoder ? openServedEncoder : openGenerator;
  return await open(device, opening);
}

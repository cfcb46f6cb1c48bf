/**
 * Opens a device and a model with its adapters, the same way for every command.
 *
 * @module
 */
import { type KvCacheDtype, kvCacheDtypes } from "../../kernels/caches/mod.ts";
import type { AdapterStore } from "../adapters/registry.ts";
import type { Device } from "../device/device.ts";
import type { ReadableFolder } from "../folder.ts";
import type { QuantizeTo } from "../models/quantization.ts";
import {
  type OpenEncoder,
  openEncoder,
  type OpenEncoderOptions,
  type OpenModel,
  openModel,
} from "../open.ts";
import type { OpenGpuOptions } from "../runtime/gpu.ts";
import { openDevice } from "../runtime/open_device.ts";
import { log } from "./log.ts";
import { progress } from "./progress.ts";
import { type NamedDevice, parseDevice } from "./values.ts";

export { emit, jsonArgs, log, tell } from "./log.ts";
export { progress } from "./progress.ts";
export {
  type NamedDevice,
  parseCount,
  parseDevice,
  parseKvCacheDtype,
  parseNumber,
  parseQuantize,
  parseShape,
} from "./values.ts";

/** Arguments of every command that computes. */
export const deviceArgs = {
  device: { type: "string", default: "auto", description: "Where to compute", valueHint: "auto|webgpu|cpu" },
  threads: {
    type: "string",
    description: "Threads of the CPU device; by default the physical cores, at most 16",
    valueHint: "N",
  },
} as const;

/** Arguments of every command that opens a model to compute with it. */
export const modelArgs = {
  quantize: {
    type: "string",
    description: "Quantize the linears' weights at load",
    valueHint: "int8|int4",
  },
  "matrix-units": {
    type: "boolean",
    description: "Multiply by float16 weights on a GPU's matrix units, x rounded to float16",
  },
  "cpu-products": {
    type: "string",
    description: "Multiply by quantised weights on the CPU with x rounded to 8 bits",
    valueHint: "int8",
  },
} as const;

/** Arguments of every command that opens a model to generate with it. */
export const cacheArgs = {
  "kv-cache-dtype": {
    type: "string",
    description: "How the key-value cache holds numbers; default float32",
    valueHint: kvCacheDtypes.join("|"),
  },
} as const;

/** Opens the device that `--device`, `--threads` and `--cpu-products` name, a GPU with these options. */
export async function openNamedDevice(args: NamedDevice, gpu?: OpenGpuOptions): Promise<Device> {
  const { kind, ...cpu } = parseDevice(args);
  return await openDevice({ kind, cpu, gpu, log });
}

/** Opens an encoder's folder on a device with a progress bar. */
export async function openNamedEncoder(
  device: Device,
  { maxAdapters, pins, encoder, ...options }:
    & Pick<OpenEncoderOptions, "folder" | "adapters" | "maxModelLen" | "quantize" | "encoder">
    & {
      /** Adapters of one method on the device. */
      readonly maxAdapters?: number;
      /** Names of adapters that stay there. */
      readonly pins?: Set<string>;
    },
): Promise<OpenEncoder> {
  const bar = progress({ unit: "weights" });
  try {
    return await openEncoder(device, {
      ...options,
      encoder,
      onWeight: bar.update,
      registry: { log, capacity: maxAdapters, pins },
    });
  } finally {
    bar.stop();
  }
}

/** Opens a model folder on a device with a progress bar. */
export async function openNamedModel(
  device: Device,
  { folder, adapters, maxModelLen, quantize, maxAdapters, pins, ...engine }: {
    folder: ReadableFolder;
    adapters?: AdapterStore;
    maxModelLen?: number;
    maxStepTokens?: number;
    maxSequences?: number;
    cacheBytes?: number;
    kvCacheDtype?: KvCacheDtype;
    prefixCaching?: boolean;
    maxWaiting?: number;
    maxBurstsPerSecond?: number;
    /** Adapters of one method on the device. */
    maxAdapters?: number;
    /** Names of adapters that stay there. */
    pins?: Set<string>;
    quantize?: QuantizeTo;
  },
): Promise<OpenModel> {
  const bar = progress({ unit: "weights" });
  try {
    return await openModel(device, {
      folder,
      adapters,
      maxModelLen,
      quantize,
      engine,
      onWeight: bar.update,
      registry: { log, capacity: maxAdapters, pins },
    });
  } finally {
    bar.stop();
  }
}

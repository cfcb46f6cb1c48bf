/**
 * What a list says of an adapter, from its config and the header of its weights: their body is not read.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { openSafetensors } from "../safetensors/mod.ts";
import type { Method } from "./method.ts";
import {
  defaultMaxBytes,
  type LoadOptions,
  maxHeaderBytes,
  methodOf,
  openWeights,
  readConfig,
  weightsName,
} from "./peft.ts";

/** What is known of an adapter; its digest once it was read whole. */
export interface AdapterFacts {
  readonly method: Method;
  /** Bytes of config and weights together. */
  readonly sizeBytes: number;
  readonly digest?: string;
}

/**
 * Reads an adapter's config, and the header of its weights.
 *
 * @throws ConfigError or SafetensorsError that names the file and the rule it breaks.
 */
export async function describeAdapter(
  folder: ReadableFolder,
  { maxBytes = defaultMaxBytes }: LoadOptions = {},
): Promise<AdapterFacts> {
  const { config, bytes } = await readConfig(folder);
  const method = methodOf(config);
  method.checkConfig(config);
  const weights = await openWeights(folder, maxBytes);
  try {
    const { tensors } = await openSafetensors(weights, { maxHeaderBytes });
    if (tensors.size === 0) throw new ConfigError(`Cannot use ${weightsName}: it holds no tensor`);
    return { method, sizeBytes: bytes.length + weights.sizeBytes };
  } finally {
    await weights.close?.();
  }
}

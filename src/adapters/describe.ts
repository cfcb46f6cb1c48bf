/**
 * What a list says of an adapter, from its config and the header of its weights: their body is not read.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { openSafetensors } from "../safetensors/mod.ts";
import { copiedWeight } from "./copies.ts";
import {
  candidatesOf,
  checkedMethods,
  type ListedMethod,
  loadedCandidates,
  methodOf,
} from "./method_list.ts";
import { lazyMethods } from "./methods/lazy.ts";
import {
  defaultMaxBytes,
  type LoadOptions,
  maxHeaderBytes,
  openWeights,
  readConfig,
  weightsName,
} from "./peft.ts";
import type { StoredAdapter } from "./store.ts";

/** What is known of an adapter; its digest once it was read whole. */
export interface AdapterFacts {
  readonly method: ListedMethod;
  /** Bytes of config and weights together. */
  readonly sizeBytes: number;
  readonly digest?: string;
  /** Whether it has biases, norms, embeddings or heads of its own; known once it was checked against a base. */
  readonly hasOwn?: boolean;
}

/**
 * What a store says of an adapter, whose files are read when it is used.
 *
 * @throws ConfigError for a `peft_type` that none of the methods has.
 */
export function factsOf(
  { peftType, sizeBytes }: NonNullable<StoredAdapter["described"]>,
  { methods = lazyMethods }: Pick<LoadOptions, "methods"> = {},
): AdapterFacts {
  const [method] = candidatesOf(checkedMethods(methods), { peft_type: peftType });
  return { method, sizeBytes };
}

/**
 * Reads an adapter's config, and the header of its weights.
 *
 * @throws ConfigError or SafetensorsError that names the file and the rule it breaks.
 */
export async function describeAdapter(
  folder: ReadableFolder,
  { maxBytes = defaultMaxBytes, methods = lazyMethods }: LoadOptions = {},
): Promise<AdapterFacts> {
  const { config, bytes } = await readConfig(folder);
  const candidates = await loadedCandidates(methods, config);
  const weights = await openWeights(folder, maxBytes);
  try {
    const { tensors } = await openSafetensors(weights, { maxHeaderBytes });
    if (tensors.size === 0) throw new ConfigError(`Cannot use ${weightsName}: it holds no tensor`);
    const own = [...tensors.keys()].filter((name) => copiedWeight(name) === undefined);
    const method = methodOf(candidates, config, own);
    method.checkConfig(config);
    return { method, sizeBytes: bytes.length + weights.sizeBytes };
  } finally {
    await weights.close?.();
  }
}

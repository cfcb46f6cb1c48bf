/**
 * A PEFT adapter folder (adapter_config.json, adapter_model.safetensors) to checked modules.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { MissingFileError, type ReadableFolder } from "../folder.ts";
import { type ByteSource, parseSafetensors, toTensor } from "../safetensors/mod.ts";
import type { HostTensor } from "../tensor.ts";
import type { AdapterModule, Method, ReadOptions } from "./method.ts";
import { methods } from "./methods/mod.ts";

/** An adapter read from its folder, on the host. */
export interface LoadedAdapter {
  readonly method: Method;
  readonly config: Readonly<Record<string, unknown>>;
  /** By module path, in the file's order. */
  readonly modules: ReadonlyMap<string, AdapterModule>;
  /** Bytes of config and weights together. */
  readonly sizeBytes: number;
  /** SHA-256 of config and weights, hex. */
  readonly digest: string;
}

/** Caps on what is read before anything is believed. */
export interface LoadOptions extends ReadOptions {
  /** Bytes of adapter_model.safetensors at most; default 1 GiB. */
  readonly maxBytes?: number;
}

const configName = "adapter_config.json";
export const weightsName = "adapter_model.safetensors";
const maxConfigBytes = 1 << 20;
/** Bytes of a weights file's header at most. */
export const maxHeaderBytes = 16 << 20;
/** Bytes of a weights file at most, unless the options say otherwise. */
export const defaultMaxBytes = 2 ** 30;

function parseConfig(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`Cannot read ${configName} as JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ConfigError(`Cannot read ${configName}: it must be a JSON object`);
  }
  return value as Record<string, unknown>;
}

/** The method a config names. */
export function methodOf(config: Readonly<Record<string, unknown>>): Method {
  const method = methods.find(({ peftType }) => peftType === config.peft_type);
  if (!method) {
    const known = methods.map(({ peftType }) => peftType).join(", ");
    throw new ConfigError(
      `Cannot read ${configName} field "peft_type" = ${
        JSON.stringify(config.peft_type)
      }: supported are ${known}`,
    );
  }
  return method;
}

async function sha256(parts: readonly Uint8Array[]): Promise<string> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  const digest = await crypto.subtle.digest("SHA-256", whole);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Why there are no weights; looked into once they were not found, since they may come and go while others publish. */
async function missingWeights(folder: ReadableFolder): Promise<ConfigError> {
  return new ConfigError(
    await folder.exists("adapter_model.bin")
      ? `Cannot read adapter_model.bin: pickle files can run code; save the adapter with safe_serialization=True`
      : `Cannot find ${weightsName} in the adapter's folder`,
  );
}

/** Opens an adapter's weights, of so many bytes at most; the caller closes them. */
export async function openWeights(folder: ReadableFolder, maxBytes: number): Promise<ByteSource> {
  let source: ByteSource;
  try {
    source = await folder.open(weightsName);
  } catch (error) {
    throw error instanceof MissingFileError ? await missingWeights(folder) : error;
  }
  if (source.sizeBytes <= maxBytes) return source;
  await source.close?.();
  throw new ConfigError(
    `Cannot read ${weightsName}: it has ${source.sizeBytes} bytes, at most ${maxBytes} are accepted`,
  );
}

async function readWeights(folder: ReadableFolder, maxBytes: number): Promise<Uint8Array> {
  const source = await openWeights(folder, maxBytes);
  try {
    return await source.read(0, source.sizeBytes);
  } finally {
    await source.close?.();
  }
}

/** An adapter's config: its bytes, and its fields, not yet checked. */
export async function readConfig(
  folder: ReadableFolder,
): Promise<{ readonly config: Readonly<Record<string, unknown>>; readonly bytes: Uint8Array }> {
  if (!await folder.exists(configName)) {
    throw new ConfigError(`Cannot find ${configName} in the adapter's folder`);
  }
  const text = await folder.readText(configName, { maxBytes: maxConfigBytes });
  return { config: parseConfig(text), bytes: new TextEncoder().encode(text) };
}

/**
 * Reads an adapter folder whole.
 *
 * @throws ConfigError or SafetensorsError that names the file, the field or tensor, and the rule it breaks.
 */
export async function loadAdapter(folder: ReadableFolder, options: LoadOptions = {}): Promise<LoadedAdapter> {
  const { config, bytes: configBytes } = await readConfig(folder);
  const method = methodOf(config);
  const bytes = await readWeights(folder, options.maxBytes ?? defaultMaxBytes);
  const file = parseSafetensors(bytes, { maxHeaderBytes });
  const tensors = new Map<string, HostTensor>();
  for (const name of file.tensors.keys()) tensors.set(name, toTensor(file.read(name)));
  const modules = method.read({ config, tensors, options });
  if (modules.size === 0) throw new ConfigError(`Cannot use ${weightsName}: it holds no tensor`);
  return {
    method,
    config,
    modules,
    sizeBytes: configBytes.length + bytes.length,
    digest: await sha256([configBytes, bytes]),
  };
}

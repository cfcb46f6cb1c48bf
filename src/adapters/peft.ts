/**
 * A PEFT adapter folder (adapter_config.json, adapter_model.safetensors) to checked modules.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { MissingFileError, type ReadableFolder } from "../folder.ts";
import { parseJsonObject } from "../json.ts";
import {
  type ByteSource,
  parseSafetensors,
  type SafetensorsBytes,
  SafetensorsError,
  toInt32,
  toTensor,
} from "../safetensors/mod.ts";
import { type HostTensor, tensor } from "../tensor.ts";
import { copiedWeight } from "./copies.ts";
import type { AdapterFiles, AdapterModule, Method, ReadOptions } from "./method.ts";
import { readLabels } from "./labels.ts";
import { type ListedMethod, loadedCandidates, methodOf } from "./method_list.ts";
import type { OwnChanges } from "./own_changes.ts";
import {
  addReplacement,
  isOfMethod,
  readReplacements,
  replacedParameter,
  type Replacements,
} from "./replacements.ts";
import { checkTargets } from "./targets.ts";
import { lazyMethods } from "./methods/lazy.ts";

/** An adapter read from its folder, on the host. */
export interface LoadedAdapter {
  readonly method: Method;
  readonly config: Readonly<Record<string, unknown>>;
  /** By module path, in the file's order. */
  readonly modules: ReadonlyMap<string, AdapterModule>;
  /** What it has in the place of the base's own parameters, by their names. */
  readonly replacements: Replacements;
  /** Those and its modules' biases, ready for a device, once a base's registry checked them; absent where it has none. */
  readonly own?: OwnChanges;
  /** Copies of base weights, by those weights' names, until they are compared with the base. */
  readonly copies: ReadonlyMap<string, { readonly tensor: string; readonly data: HostTensor }>;
  /** Names of its classifier's labels, in order, where `labels.json` beside its files has them. */
  readonly labels?: readonly string[];
  /** Bytes of config and weights together. */
  readonly sizeBytes: number;
  /** SHA-256 of config and weights, hex. */
  readonly digest: string;
}

/** Which adapters are read, and caps on what is read before anything is believed. */
export interface LoadOptions extends ReadOptions {
  /** The methods that adapters may be of, with those of the caller's own; by default those of this package. */
  readonly methods?: readonly ListedMethod[];
  /** Whether `labels.json` is read, too; default false: only classifiers have labels. */
  readonly labels?: boolean;
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

/** SHA-256 of bytes that stand one after the other, hex. */
export async function sha256(parts: readonly Uint8Array[]): Promise<string> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  const digest = await crypto.subtle.digest("SHA-256", whole);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Files that PyTorch wrote, as PEFT and the authors of methods name them, and what to do instead. */
const pickles: Readonly<Record<string, string>> = {
  "adapter_model.bin": "save the adapter with safe_serialization=True",
  "lit_model_ether_finetuned.pth": "examples/checkpoint_to_safetensors.py makes an adapter folder of it",
};

/** Why a file is not there; looked into once it was not found, since files may come and go while others publish. */
async function missingFile(folder: ReadableFolder, name: string): Promise<ConfigError> {
  for (const [pickle, remedy] of Object.entries(pickles)) {
    if (!await folder.exists(pickle)) continue;
    return new ConfigError(`Cannot read ${pickle}: pickle files can run code; ${remedy}`);
  }
  return new ConfigError(`Cannot find ${name} in the adapter's folder`);
}

/** Opens an adapter's weights, of so many bytes at most; the caller closes them. */
export async function openWeights(folder: ReadableFolder, maxBytes: number): Promise<ByteSource> {
  let source: ByteSource;
  try {
    source = await folder.open(weightsName);
  } catch (error) {
    throw error instanceof MissingFileError ? await missingFile(folder, weightsName) : error;
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

function parseWeights(bytes: Uint8Array): SafetensorsBytes {
  try {
    return parseSafetensors(bytes, { maxHeaderBytes });
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw new ConfigError(`Cannot read ${weightsName}: ${error.message}`, { cause: error });
  }
}

function readTensor(file: SafetensorsBytes, name: string, integers: boolean): HostTensor {
  const view = file.read(name);
  try {
    return integers ? tensor(toInt32(view), view.shape) : toTensor(view);
  } catch (error) {
    if (error instanceof RangeError) throw new ConfigError(error.message, { cause: error });
    if (!(error instanceof TypeError)) throw error;
    const rule = integers ? "U8, I16, I32 or I64" : "F32, F16 or BF16";
    throw new ConfigError(
      `Cannot read adapter tensor ${JSON.stringify(name)}: its dtype is ${view.dtype}, the rule is ${rule}`,
      { cause: error },
    );
  }
}

/** The adapter's own tensors, and copies of the base's weights. */
function readTensors(
  file: SafetensorsBytes,
  { integers, own }: Method,
  config: Readonly<Record<string, unknown>>,
): { readonly tensors: ReadonlyMap<string, HostTensor> } & Pick<LoadedAdapter, "copies"> {
  const tensors = new Map<string, HostTensor>();
  const copies = new Map<string, { tensor: string; data: HostTensor }>();
  for (const name of file.tensors.keys()) {
    const data = readTensor(file, name, integers?.test(name) ?? false);
    const weight = copiedWeight(name);
    if (weight === undefined) tensors.set(name, data);
    else if (!copies.has(weight)) copies.set(weight, { tensor: name, data });
    else throw new ConfigError(`Cannot read adapter tensor ${JSON.stringify(name)}: it comes twice`);
  }
  const replaces = (name: string): boolean => replacedParameter(name, { config, own }) !== undefined;
  if (copies.size === 0 && ![...tensors.keys()].some(replaces)) return { tensors, copies };
  // The file's bytes may go, once copies are compared and replacements are on a device: what stays is the method's.
  const kept = [...tensors].map(([name, t]) =>
    [name, replaces(name) ? t : { ...t, data: t.data.slice() }] as const
  );
  return { tensors: new Map(kept), copies };
}

/** An adapter's config: its bytes, and its fields, not yet checked. */
export async function readConfig(
  folder: ReadableFolder,
): Promise<{ readonly config: Readonly<Record<string, unknown>>; readonly bytes: Uint8Array }> {
  if (!await folder.exists(configName)) throw await missingFile(folder, configName);
  const text = await folder.readText(configName, { maxBytes: maxConfigBytes });
  return { config: parseJsonObject(text, configName), bytes: new TextEncoder().encode(text) };
}

/** The method's modules, and what stands in the place of the base's parameters: the method's, and what any method may have. */
function readAll(
  method: Method,
  files: AdapterFiles,
): Pick<LoadedAdapter, "modules" | "replacements"> {
  const { config } = files, names = { config, own: method.own };
  const all = readReplacements(files.tensors, names);
  const tensors = new Map([...files.tensors].filter(([name]) => isOfMethod(name, names)));
  const modules = method.read({ ...files, tensors });
  checkTargets(config, modules.keys());
  for (const [name, one] of method.replaces?.({ ...files, tensors }) ?? []) addReplacement(all, name, one);
  return { modules, replacements: all };
}

/** Options by which a method reads files that name modules in their own way: patterns in the config go by those names. */
function byModelPaths({ pathOf, shapeOf, placeOf, ...rest }: ReadOptions): ReadOptions {
  const by = <T>(of: ((path: string) => T | undefined) | undefined) =>
    of && pathOf
      ? (path: string): T | undefined => {
        const known = pathOf(path);
        return known === undefined ? undefined : of(known);
      }
      : of;
  return { ...rest, shapeOf: by(shapeOf), placeOf: by(placeOf) };
}

/** Entries by the model's names; those that nothing reads are left out. */
function byModelNames<T>(
  entries: ReadonlyMap<string, T>,
  pathOf: NonNullable<ReadOptions["pathOf"]>,
): Map<string, T> {
  const named = new Map<string, T>();
  for (const [path, one] of entries) {
    const known = pathOf(path);
    if (known === undefined) continue;
    if (named.has(known)) {
      throw new ConfigError(`Cannot use adapter module "${path}": the file has "${known}" twice`);
    }
    named.set(known, one);
  }
  return named;
}

function renamed(
  parts: Pick<LoadedAdapter, "modules" | "replacements">,
  { pathOf }: ReadOptions,
): Pick<LoadedAdapter, "modules" | "replacements"> {
  if (!pathOf) return parts;
  return {
    modules: byModelNames(parts.modules, pathOf),
    replacements: byModelNames(parts.replacements, pathOf),
  };
}

/**
 * Reads an adapter folder whole.
 *
 * @throws ConfigError that names the file, the field or tensor, and the rule it breaks.
 */
export async function loadAdapter(folder: ReadableFolder, options: LoadOptions = {}): Promise<LoadedAdapter> {
  const { methods = lazyMethods, maxBytes = defaultMaxBytes, labels: wantsLabels = false, ...reading } =
    options;
  const { config, bytes: configBytes } = await readConfig(folder);
  const candidates = await loadedCandidates(methods, config);
  const bytes = await readWeights(folder, maxBytes);
  const file = parseWeights(bytes);
  const own = [...file.tensors.keys()].filter((name) => copiedWeight(name) === undefined);
  const method = methodOf(candidates, config, own);
  const { tensors, copies } = readTensors(file, method, config);
  const { modules, replacements } = renamed(
    readAll(method, { config, tensors, options: byModelPaths(reading) }),
    reading,
  );
  const twice = [...copies].find(([weight]) => replacements.get(weight)?.kind === "whole");
  if (twice) {
    throw new ConfigError(`Cannot read adapter tensor ${JSON.stringify(twice[1].tensor)}: it comes twice`);
  }
  if (modules.size + replacements.size === 0) {
    throw new ConfigError(`Cannot use ${weightsName}: it holds no tensor`);
  }
  const labels = wantsLabels ? await readLabels(folder) : undefined;
  return {
    method,
    config,
    modules,
    replacements,
    copies,
    ...(labels ? { labels } : {}),
    sizeBytes: configBytes.length + bytes.length,
    digest: await sha256([configBytes, bytes]),
  };
}

/**
 * The weights of a model folder: one safetensors file, an index and its shards, or a GGUF file.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { isPlainName, type ReadableFolder } from "../folder.ts";
import { isJsonObject, parseJsonObject } from "../json.ts";
import {
  type ByteSource,
  openSafetensors,
  SafetensorsError,
  type SafetensorsFile,
  type TensorInfo,
  toFloat32,
  toTensor,
} from "../safetensors/mod.ts";
import { type HostTensor, tensor } from "../tensor.ts";
import { fail, parseConfigText } from "./config_fields.ts";
import type { Architecture } from "./gguf/architecture.ts";
import { parsePacking } from "./packed/mod.ts";
import { storedBytes, type StoredTensors } from "./packed/packing.ts";
import type { Weight } from "./weights.ts";

/** Weights by name, read when asked for. */
export interface Checkpoint {
  readonly names: readonly string[];
  /** Shape, and dtype as `read` gives it. Throws ConfigError for an unknown name. */
  info(name: string): Pick<TensorInfo, "name" | "dtype" | "shape">;
  /** Bytes of a weight in its file, at most those that `read` gives. Throws ConfigError for an unknown name. */
  bytes(name: string): number;
  /**
   * A tensor as it is stored: float32, float16 and bfloat16 stay what they are; float64 is rounded to float32.
   *
   * @throws ConfigError for an unknown name, and for a dtype that no kernel reads.
   */
  read(name: string): Promise<HostTensor>;
  /**
   * A matrix as a weight (out, in) in the format that the file has it in. Left out where files have floats alone, or
   * tensors of their own for what is quantised.
   *
   * @throws ConfigError for an unknown name, and for a type that no format has.
   */
  readWeight?(name: string): Promise<Weight<HostTensor>>;
  /** A line for the log about the weights that were read: some take more memory than the file. */
  notice?(): string | undefined;
  /** Closes the files; nothing can be read after it. */
  close(): Promise<void>;
}

/** A GGUF file in place of safetensors. */
export const ggufName = "model.gguf";

const singleName = "model.safetensors";
const indexName = "model.safetensors.index.json";
const pickleNames = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/** What a model's folder may hold beside config.json and weights, and a copy of it should. */
export const filesBesideWeights: readonly string[] = [
  "generation_config.json",
  "preprocessor_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "tokenizer.model",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
  "chat_template.json",
];

/** Chat templates by name, where transformers 5 keeps them beside chat_template.jinja. */
export const namedTemplates = {
  folder: "additional_chat_templates",
  names: ["default.jinja", "tool_use.jinja", "rag.jinja"],
} as const;

interface Shard {
  readonly name: string;
  readonly source: ByteSource;
  readonly file: SafetensorsFile;
}

async function openShard(folder: ReadableFolder, name: string): Promise<Shard> {
  const source = await folder.open(name);
  try {
    return { name, source, file: await openSafetensors(source) };
  } catch (error) {
    await source.close?.();
    if (!(error instanceof SafetensorsError)) throw error;
    throw new SafetensorsError(`Cannot open weights "${name}": ${error.message}`, { cause: error });
  }
}

/** A shard's plain name; undefined for what may be in another folder. */
function shardName(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  const name = value.replace(/^(\.\/+)+/, "");
  return isPlainName(name) && name.endsWith(".safetensors") ? name : undefined;
}

/** The index's `weight_map`: shard by tensor. */
function parseWeightMap(text: string): ReadonlyMap<string, string> {
  const map = parseJsonObject(text, indexName).weight_map;
  if (!isJsonObject(map) || Object.keys(map).length === 0) {
    throw new ConfigError(
      `Cannot read ${indexName}: the rule is an object "weight_map" of tensor names to file names`,
    );
  }
  return new Map(
    Object.entries(map).map(([name, shard]) => {
      const plain = shardName(shard);
      if (plain !== undefined) return [name, plain];
      throw new ConfigError(
        `Cannot read ${indexName}: weight_map gives tensor "${name}" the file ${JSON.stringify(shard)}, ` +
          `the rule is the plain name of a .safetensors file`,
      );
    }),
  );
}

/**
 * Opens every shard that the index names. As in transformers, its tensors are those of the shards: what the index lists and
 * no shard has is not there (a tied head, an old buffer), and what it does not list is.
 */
async function openShards(
  folder: ReadableFolder,
  opened: Map<string, Shard>,
): Promise<ReadonlyMap<string, Shard>> {
  const weightMap = parseWeightMap(await folder.readText(indexName));
  const shardOf = new Map<string, Shard>();
  for (const [listed, file] of weightMap) {
    if (opened.has(file)) continue;
    if (!await folder.exists(file)) {
      throw new ConfigError(`Cannot find shard "${file}": ${indexName} lists tensor "${listed}" in it`);
    }
    const shard = await openShard(folder, file);
    opened.set(file, shard);
    for (const name of shard.file.tensors.keys()) {
      const other = shardOf.get(name);
      if (other) {
        throw new ConfigError(
          `Cannot use tensor "${name}": shards "${other.name}" and "${file}" both have it`,
        );
      }
      shardOf.set(name, shard);
    }
  }
  return shardOf;
}

async function openSingle(
  folder: ReadableFolder,
  opened: Map<string, Shard>,
): Promise<ReadonlyMap<string, Shard>> {
  const shard = await openShard(folder, singleName);
  opened.set(singleName, shard);
  return new Map(Array.from(shard.file.tensors.keys(), (name) => [name, shard]));
}

async function shardsOf(
  folder: ReadableFolder,
  opened: Map<string, Shard>,
): Promise<ReadonlyMap<string, Shard>> {
  if (await folder.exists(singleName)) return await openSingle(folder, opened);
  if (await folder.exists(indexName)) return await openShards(folder, opened);
  throw await noWeights(folder);
}

async function noWeights(folder: ReadableFolder): Promise<ConfigError> {
  for (const name of pickleNames) {
    if (!await folder.exists(name)) continue;
    return new ConfigError(
      `Cannot open weights "${name}": a pickle file can run code when it is read; ` +
        `save the model again with transformers' save_pretrained(..., safe_serialization=True)`,
    );
  }
  return new ConfigError(`Cannot find weights: the model's folder has no ${singleName} and no ${indexName}`);
}

async function closeAll(opened: ReadonlyMap<string, Shard>): Promise<void> {
  for (const { source } of opened.values()) await source.close?.();
}

/** How a family's weights are named and laid out in files. */
export interface FileNames {
  /** What names lack in a file that was saved from the model without its head, e.g. `model.`. */
  readonly prefix: string;
  /** What such names begin with, up to a dot. */
  readonly parts: readonly string[];
  /** The embedding's weight. */
  readonly embedding?: string;
  /** The weight of a language model's head; a tied model's file may lack it. */
  readonly head?: string;
  /** Buffers that old files hold and transformers saves no more: they are no weights, and copies leave them out. */
  readonly buffers?: RegExp;
  /** The model's name of a tensor, for names of other versions; by default names are the model's. */
  rename?(name: string): string;
  /** GGUF files of the family, by their `general.architecture`. */
  readonly gguf?: Readonly<Record<string, Architecture>>;
  /** Whether a linear's weight is stored (in, out); by default none is. */
  isTransposed?(path: string): boolean;
}

/**
 * Opens a model folder's weights; headers are read and checked, tensors are not. Close it after.
 *
 * @param names How the model's family names weights; without it they are named as they are stored.
 * @throws ConfigError when files are missing or the index disagrees with them, SafetensorsError for a file that breaks
 * the format; both name the file.
 */
export async function openCheckpoint(
  folder: ReadableFolder,
  names?: FileNames,
): Promise<Checkpoint> {
  if (await isGguf(folder)) return await openGguf(folder, names);
  const opened = new Map<string, Shard>();
  try {
    const tensors = storedTensors(byModelName(await shardsOf(folder, opened), names));
    const plain = checkpointOf(tensors, () => closeAll(opened)), packing = await packingOf(folder);
    if (!packing) return plain;
    const { unpackedCheckpoint } = await import("./packed/checkpoint.ts");
    return await unpackedCheckpoint(plain, { tensors, packing, isTransposed: names?.isTransposed });
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
}

/** Whether a folder has its weights in a GGUF file: safetensors go before. */
async function isGguf(folder: ReadableFolder): Promise<boolean> {
  for (const name of [singleName, indexName]) if (await folder.exists(name)) return false;
  return await folder.exists(ggufName);
}

async function openGguf(folder: ReadableFolder, names?: FileNames): Promise<Checkpoint> {
  const source = await folder.open(ggufName);
  try {
    const { openGgufCheckpoint } = await import("./gguf/checkpoint.ts");
    return await openGgufCheckpoint(source, names);
  } catch (error) {
    await source.close?.();
    throw error;
  }
}

/** Where a weight is, and what its shard calls it. */
interface Place {
  readonly shard: Shard;
  readonly stored: string;
}

/** Names as a model with a head has them, as transformers knows. */
function byModelName(
  shardOf: ReadonlyMap<string, Shard>,
  { prefix, parts, buffers, rename = (name) => name }: Pick<
    FileNames,
    "prefix" | "parts" | "buffers" | "rename"
  > = { prefix: "", parts: [] },
): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  for (const [stored, shard] of shardOf) {
    const name = rename(parts.includes(stored.split(".", 1)[0]) ? prefix + stored : stored);
    if (buffers?.test(name)) continue;
    const other = places.get(name);
    if (other) {
      throw new ConfigError(
        `Cannot use weight "${stored}": the file has "${other.stored}", too, which is the same`,
      );
    }
    places.set(name, { shard, stored });
  }
  return places;
}

/** The tensors as they are stored. */
function storedTensors(places: ReadonlyMap<string, Place>): StoredTensors {
  const find = (name: string): Place => {
    const place = places.get(name);
    if (!place) throw new ConfigError(`Cannot find weight "${name}" in the model's folder`);
    return place;
  };
  return {
    names: new Set(places.keys()),
    info(name) {
      const { shard, stored } = find(name);
      return shard.file.tensors.get(stored)!;
    },
    async view(name) {
      const { shard, stored } = find(name);
      return await shard.file.read(stored);
    },
  };
}

/** How another program quantised a folder's weights, by its config.json; undefined where none did. */
async function packingOf(folder: ReadableFolder) {
  if (!await folder.exists("config.json")) return undefined;
  return parsePacking(parseConfigText(await folder.readText("config.json")).quantization_config, fail);
}

async function readTensor({ view: read }: StoredTensors, name: string): Promise<HostTensor> {
  const view = await read(name);
  if (view.dtype === "F64") return tensor(toFloat32(view), view.shape);
  try {
    return toTensor(view);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new ConfigError(
      `Cannot use weight "${view.name}": its dtype is ${view.dtype}, floats are supported`,
    );
  }
}

function checkpointOf(tensors: StoredTensors, close: () => Promise<void>): Checkpoint {
  const info: Checkpoint["info"] = (name) => {
    const { dtype, shape } = tensors.info(name);
    return { name, dtype: dtype === "F64" ? "F32" : dtype, shape };
  };
  return {
    names: [...tensors.names],
    info,
    bytes: (name) => storedBytes(info(name)),
    read: async (name) => await readTensor(tensors, name),
    close,
  };
}

/**
 * The weights of a Hugging Face model folder: one safetensors file, or an index and its shards.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { isPlainName, type ReadableFolder } from "../folder.ts";
import {
  type ByteSource,
  openSafetensors,
  SafetensorsError,
  type SafetensorsFile,
  type TensorInfo,
  toTensor,
} from "../safetensors/mod.ts";
import type { HostTensor } from "../tensor.ts";

/** Weights by name, read when asked for. */
export interface Checkpoint {
  readonly names: readonly string[];
  /** Shape and dtype. Throws ConfigError for an unknown name. */
  info(name: string): TensorInfo;
  /**
   * A tensor as it is stored: float32, float16 and bfloat16 stay what they are.
   *
   * @throws ConfigError for an unknown name, TypeError for a dtype that no kernel reads.
   */
  read(name: string): Promise<HostTensor>;
  /** Closes the files; nothing can be read after it. */
  close(): Promise<void>;
}

const singleName = "model.safetensors";
const indexName = "model.safetensors.index.json";
const pickleNames = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/** What a model's folder may hold beside config.json and weights, and a copy of it should. */
export const filesBesideWeights: readonly string[] = [
  "generation_config.json",
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

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The index's `weight_map`: shard by tensor. */
function parseWeightMap(text: string): ReadonlyMap<string, string> {
  let index: unknown;
  try {
    index = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`Cannot read ${indexName} as JSON: ${(error as Error).message}`);
  }
  const map = isObject(index) ? index.weight_map : undefined;
  if (!isObject(map) || Object.keys(map).length === 0) {
    throw new ConfigError(
      `Cannot read ${indexName}: the rule is an object "weight_map" of tensor names to file names`,
    );
  }
  return new Map(
    Object.entries(map).map(([name, shard]) => {
      if (typeof shard === "string" && isPlainName(shard) && shard.endsWith(".safetensors")) {
        return [name, shard];
      }
      throw new ConfigError(
        `Cannot read ${indexName}: weight_map gives tensor "${name}" the file ${JSON.stringify(shard)}, ` +
          `the rule is the plain name of a .safetensors file`,
      );
    }),
  );
}

/** Opens every shard and finds every listed tensor in its own. */
async function openShards(
  folder: ReadableFolder,
  opened: Map<string, Shard>,
): Promise<ReadonlyMap<string, Shard>> {
  const weightMap = parseWeightMap(await folder.readText(indexName));
  const shardOf = new Map<string, Shard>();
  for (const [name, shardName] of weightMap) {
    if (!opened.has(shardName)) {
      if (!await folder.exists(shardName)) {
        throw new ConfigError(`Cannot find shard "${shardName}": ${indexName} lists tensor "${name}" in it`);
      }
      opened.set(shardName, await openShard(folder, shardName));
    }
    const shard = opened.get(shardName)!;
    if (!shard.file.tensors.has(name)) {
      throw new ConfigError(
        `Cannot find tensor "${name}" in shard "${shardName}", where ${indexName} lists it`,
      );
    }
    shardOf.set(name, shard);
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

/**
 * Opens a model folder's weights; headers are read and checked, tensors are not. Close it after.
 *
 * @throws ConfigError when files are missing or the index disagrees with them, SafetensorsError for a file that breaks
 * the format; both name the file.
 */
export async function openCheckpoint(folder: ReadableFolder): Promise<Checkpoint> {
  const opened = new Map<string, Shard>();
  let shardOf: ReadonlyMap<string, Shard>;
  try {
    if (await folder.exists(singleName)) shardOf = await openSingle(folder, opened);
    else if (await folder.exists(indexName)) shardOf = await openShards(folder, opened);
    else throw await noWeights(folder);
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
  const find = (name: string): Shard => {
    const shard = shardOf.get(name);
    if (!shard) throw new ConfigError(`Cannot find weight "${name}" in the model's folder`);
    return shard;
  };
  return {
    names: [...shardOf.keys()],
    info: (name) => find(name).file.tensors.get(name)!,
    read: async (name) => toTensor(await find(name).file.read(name)),
    close: () => closeAll(opened),
  };
}

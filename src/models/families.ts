/**
 * Every family of models once.
 *
 * @module
 */
import type { ReadableFolder } from "../folder.ts";
import { bert, roberta } from "./bert/mod.ts";
import { type Checkpoint, type FileNames, openCheckpoint } from "./checkpoint.ts";
import { fail, type Fields, parseConfigText } from "./config_fields.ts";
import { anyFamily, type Family, type ModelConfig } from "./family.ts";
import { gpt2 } from "./gpt2/mod.ts";
import { lfm2 } from "./lfm2/mod.ts";
import { llama } from "./llama/mod.ts";
import { qwen35, qwen35Text } from "./qwen3_5/mod.ts";
import { linearsOf, type SpecTree } from "./spec.ts";
import { vit } from "./vit/mod.ts";
import type { Linear } from "../adapters/bank.ts";
import type { ReadOptions } from "../adapters/method.ts";
import { ConfigError } from "../errors.ts";

/** See the module's documentation. */
export const families: readonly Family[] = [
  anyFamily(llama),
  anyFamily(gpt2),
  anyFamily(lfm2),
  anyFamily(qwen35Text),
  anyFamily(qwen35),
  anyFamily(bert),
  anyFamily(roberta),
  anyFamily(vit),
];

/** The family that a `model_type` belongs to. */
export function familyOfType(modelType: unknown): Family | undefined {
  return families.find(({ modelTypes }) => modelTypes.some((known) => known === modelType));
}

/** The family of a checked config. */
export function familyOf({ modelType }: ModelConfig): Family {
  return familyOfType(modelType)!;
}

/**
 * Checks a parsed config.json.
 *
 * @throws ConfigError that names the field, its value and the rule.
 */
export function parseConfig(fields: Fields): ModelConfig {
  const family = familyOfType(fields.model_type);
  if (family) return family.parse(fields);
  const known = families.flatMap(({ modelTypes }) => modelTypes);
  fail(
    "model_type",
    fields.model_type,
    `supported are ${known.slice(0, -1).join(", ")} and ${known[known.length - 1]}`,
  );
}

/** The fields of a folder's config.json, not yet checked. */
export async function readConfigFields(folder: ReadableFolder): Promise<Fields> {
  if (!await folder.exists("config.json")) {
    throw new ConfigError("Cannot find config.json in the model's folder");
  }
  return parseConfigText(await folder.readText("config.json"));
}

/** Reads and checks a folder's config.json. */
export async function readConfig(folder: ReadableFolder): Promise<ModelConfig> {
  return parseConfig(await readConfigFields(folder));
}

/**
 * Reads and checks the config.json of a model that generates.
 *
 * @param work What needs such a model, for the message.
 * @throws ConfigError for an encoder, too.
 */
export async function readGeneratorConfig(folder: ReadableFolder, work: string): Promise<ModelConfig> {
  const config = await readConfig(folder);
  if (!config.encoder) return config;
  throw new ConfigError(
    `Cannot ${work} a model of type "${config.modelType}": it is an encoder, which predicts no next token`,
  );
}

/** `pathOf` for adapters of a model of a config.json's fields; undefined where they name modules as the model does. */
export function pathsOf({ model_type: type }: Fields): Family["adaptedPath"] {
  return familyOfType(type)?.adaptedPath;
}

/** How adapters name modules of a config's model, where that is not as the model does: an option of `loadAdapter`. */
export function adapterPaths({ modelType }: ModelConfig): Pick<ReadOptions, "pathOf"> {
  const pathOf = pathsOf({ model_type: modelType });
  return pathOf ? { pathOf } : {};
}

/** The weights of a config's model. */
export function weightsOf(config: ModelConfig): SpecTree {
  return familyOf(config).weights(config);
}

/** The linears of a config's model, in the order plans number them: those of the layers, then the head. */
export function modelLinears(config: ModelConfig): Linear[] {
  return linearsOf(weightsOf(config));
}

/** The linears that PEFT adapts by default in a config's model; undefined where it has none. */
export function defaultTargets(config: ModelConfig, peftType: string): readonly string[] | undefined {
  return familyOf(config).targets?.(config, peftType);
}

/** The name that PEFT's newest files have for a module of a config's model. */
export function savedPath(config: ModelConfig, path: string): string {
  return familyOf(config).savedPath?.(path) ?? path;
}

/** Whether the files of a config's model have a linear's weight (in, out). */
export function isTransposed(config: ModelConfig, path: string): boolean {
  return familyOf(config).names.isTransposed?.(path) ?? false;
}

/** Opens a folder's weights by the names that the model's family gives them; see `openCheckpoint`. */
export function openWeights(folder: ReadableFolder, config: ModelConfig): Promise<Checkpoint> {
  return openCheckpoint(folder, familyOf(config).names);
}

/** How a folder's weights are named; undefined where no family is known by its config.json. */
export async function namesOf(folder: ReadableFolder): Promise<FileNames | undefined> {
  if (!await folder.exists("config.json")) return undefined;
  return familyOfType((await readConfigFields(folder)).model_type)?.names;
}

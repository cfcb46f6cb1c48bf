/**
 * What an adapter's file has beside its adapted linears: parameters that stand in the place of the model's own.
 *
 * PEFT writes them for trained biases (`bias`), for whole modules (`modules_to_save`), for trained tokens, for LoRA on
 * embeddings, and for LN tuning.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { HostTensor } from "../tensor.ts";
import { finiteFloats } from "./numbers.ts";

/** A whole parameter. */
export interface WholeParameter {
  readonly kind: "whole";
  /** As the file has it, for messages. */
  readonly tensor: string;
  readonly data: HostTensor;
}

/** Some rows of a table (entries, width): of an embedding, and of a head that is tied to the embedding. */
export interface TableRows {
  readonly kind: "rows";
  readonly tensor: string;
  /** Ascending. */
  readonly ids: Uint32Array;
  /** (ids, width) */
  readonly values: Float32Array;
  readonly width: number;
}

/** A change of a table (entries, width) by factors: row i becomes E[i] + scale * sum over k of a[i, k] b[:, k]. */
export interface TableFactors {
  readonly kind: "factors";
  readonly tensor: string;
  /** (entries, rank) */
  readonly a: Float32Array;
  /** (width, rank) */
  readonly b: Float32Array;
  readonly rank: number;
  readonly scale: number;
}

/** What an adapter has in the place of a parameter. */
export type Replacement = WholeParameter | TableRows | TableFactors;

/** Replacements by the parameters' names, e.g. `model.norm.weight`. */
export type Replacements = ReadonlyMap<string, Replacement>;

type Config = Readonly<Record<string, unknown>>;

const prefix = "base_model.model.";
const tokensSuffix = /^(.+?)(?:\.token_adapter)?\.trainable_tokens_delta$/;

/** Names of modules that were saved whole. PEFT may name one twice, and modules that the model does not have. */
function savedModules({ modules_to_save: names }: Config): readonly string[] {
  if (names === undefined || names === null) return [];
  if (Array.isArray(names) && names.every((name) => typeof name === "string" && name !== "")) return names;
  throw new ConfigError(
    `Cannot read adapter_config.json field "modules_to_save" as a list of names: it is ${
      JSON.stringify(names)
    }`,
  );
}

const trainsBiases = ({ bias }: Config): boolean => typeof bias === "string" && bias !== "none";

/**
 * The parameter whose place a tensor takes; undefined for a tensor of the adapter's method.
 *
 * @param own Matches the names of the method's own tensors that end as a parameter's do.
 */
export function replacedParameter(
  tensor: string,
  { config, own }: { readonly config: Config; readonly own?: RegExp },
): string | undefined {
  if (!tensor.startsWith(prefix)) return undefined;
  const name = tensor.slice(prefix.length);
  if (name.endsWith(".base_layer.bias")) return name.replace(/\.base_layer\.bias$/, ".bias");
  if (own?.test(tensor)) return undefined;
  if (/(^|\.)(embed_tokens|lm_head)\.weight$/.test(name)) return name;
  if (trainsBiases(config) && name.endsWith(".bias")) return name;
  // As PEFT does: "norm" is any module whose path ends so, and what is in it.
  const isSaved = /\.(weight|bias)$/.test(name) &&
    savedModules(config).some((module) => name.includes(`${module}.`));
  return isSaved ? name : undefined;
}

/** The embedding whose rows a tensor of trained tokens has; undefined for other tensors. */
export function trainedTokens(tensor: string): string | undefined {
  const [, path] = tensorName(tensor)?.match(tokensSuffix) ?? [];
  return path && `${path}.weight`;
}

const tensorName = (tensor: string): string | undefined =>
  tensor.startsWith(prefix) ? tensor.slice(prefix.length) : undefined;

/** The ids of a config's trained tokens for an embedding: a list for all, or lists by the ends of embeddings' paths. */
function idsOf(field: string, value: unknown, path: string): readonly number[] {
  const found = value !== null && typeof value === "object" && !Array.isArray(value)
    ? Object.entries(value).find(([key]) => path === key || path.endsWith(`.${key}`))?.[1]
    : value;
  if (Array.isArray(found) && found.every((id) => Number.isSafeInteger(id) && id >= 0 && id < 2 ** 32)) {
    return found;
  }
  throw new ConfigError(
    `Cannot read adapter_config.json field "${field}" as the token ids of "${path}": it is ${
      JSON.stringify(value) ?? "absent"
    }`,
  );
}

/**
 * The rows of an embedding that a tensor (ids, width) has, in ascending order of their ids.
 *
 * @param field The config's field that has the ids, in the tensor's order.
 * @throws ConfigError that names the tensor or the field, and the rule.
 */
export function tableRows(
  { name, t }: { readonly name: string; readonly t: HostTensor },
  { config, field }: { readonly config: Config; readonly field: string },
): TableRows {
  const path = trainedTokens(name)!.replace(/\.weight$/, "");
  const ids = idsOf(field, config[field], path);
  const [count, width] = t.shape;
  if (t.shape.length !== 2 || count !== ids.length || count === 0 || width === 0) {
    throw new ConfigError(
      `Cannot use adapter tensor "${name}" of shape (${t.shape}): it must be (${ids.length}, width), a row for each id ` +
        `of "${field}"`,
    );
  }
  if (new Set(ids).size < ids.length) {
    throw new ConfigError(`Cannot read adapter_config.json field "${field}": an id comes twice`);
  }
  const numbers = finiteFloats(name, t);
  const order = ids.map((_, i) => i).sort((i, j) => ids[i] - ids[j]);
  const values = new Float32Array(numbers.length);
  order.forEach((from, to) => values.set(numbers.subarray(from * width, (from + 1) * width), to * width));
  return { kind: "rows", tensor: name, ids: Uint32Array.from(order, (i) => ids[i]), values, width };
}

/**
 * Replacements of any method: whole parameters, and the trained tokens of `trainable_token_indices`.
 *
 * @param tensors Those of the file that are the method's, too, and copies left out.
 * @throws ConfigError that names the tensor and the rule.
 */
export function readReplacements(
  tensors: ReadonlyMap<string, HostTensor>,
  { config, own }: { readonly config: Config; readonly own?: RegExp },
): Map<string, Replacement> {
  savedModules(config);
  const made = new Map<string, Replacement>();
  for (const [name, t] of tensors) {
    const parameter = replacedParameter(name, { config, own });
    const embedding = isTokenAdapter(name) ? trainedTokens(name) : undefined;
    if (parameter !== undefined) {
      finiteFloats(name, t);
      addReplacement(made, parameter, { kind: "whole", tensor: name, data: t });
    } else if (embedding !== undefined) {
      addReplacement(made, embedding, tableRows({ name, t }, { config, field: "trainable_token_indices" }));
    }
  }
  return made;
}

/** Whether a tensor has tokens that were trained beside an adapter of any method. */
const isTokenAdapter = (tensor: string): boolean => tensor.endsWith(".token_adapter.trainable_tokens_delta");

/** Whether a tensor is the method's own, and no replacement that every method may have. */
export function isOfMethod(
  tensor: string,
  { config, own }: { readonly config: Config; readonly own?: RegExp },
): boolean {
  return replacedParameter(tensor, { config, own }) === undefined && !isTokenAdapter(tensor);
}

/**
 * Adds a replacement.
 *
 * @throws ConfigError where the parameter has one already.
 */
export function addReplacement(
  made: Map<string, Replacement>,
  parameter: string,
  replacement: Replacement,
): void {
  const first = made.get(parameter);
  if (first) {
    throw new ConfigError(
      `Cannot use adapter tensors "${first.tensor}" and "${replacement.tensor}" together: both change "${parameter}"`,
    );
  }
  made.set(parameter, replacement);
}

/**
 * Parameters that a new adapter of a language model is to train whole (`modules_to_save`) or by rows
 * (`trainable_token_indices`): as they are in the base.
 *
 * @module
 */
import type { Parameter } from "../adapters/parameters.ts";
import type { Replacement } from "../adapters/replacements.ts";
import type { SavedOptions } from "../adapters/saved_options.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import type { Model } from "../models/model.ts";
import { tensor } from "../tensor.ts";
import { baseNumbers } from "./own_parameters.ts";

const prefix = "base_model.model.";

/** What stands in the place of the base's parameters, and the config's fields that say so. */
export interface SavedParameters {
  readonly config: Readonly<Record<string, unknown>>;
  readonly replacements: ReadonlyMap<string, Replacement>;
}

const moduleOf = ({ name }: Parameter): string => name.replace(/\.(weight|bias)$/, "");

/** Norms, embeddings and the head. */
const savable = ({ linears, parameters }: Model): readonly Parameter[] => parameters.slice(linears.length);

/** The parameters of a module by PEFT's rule: it is any whose path ends so. */
function namedParameters(model: Model, module: string): readonly Parameter[] {
  const found = savable(model).filter((one) => moduleOf(one).endsWith(module));
  if (found.length > 0) return found;
  throw new ConfigError(
    `Cannot train module to save "${module}": no norm, embedding or head of floats has a path that ends so`,
  );
}

/** The embedding of tokens: the one that a tied head names, or the first. */
function tokenEmbedding(model: Model): Parameter {
  const { tiedTo } = model.parameters[model.parameters.length - 1];
  const found = savable(model).find(({ name, kind }) => kind === "embedding" && (!tiedTo || name === tiedTo));
  if (found) return found;
  throw new ConfigError(
    "Cannot train token rows: the model has no embedding of tokens that is kept as floats",
  );
}

async function tokenRows(
  device: Device,
  model: Model,
  ids: readonly number[],
): Promise<[string, Replacement]> {
  const parameter = tokenEmbedding(model), [entries, width] = parameter.shape;
  const past = ids.find((id) => id >= entries);
  if (past !== undefined) {
    throw new RangeError(
      `Cannot use trainableTokenIndices with ${past}: the model has embeddings for 0..${entries - 1}`,
    );
  }
  const sorted = Uint32Array.from(ids).sort(), base = await baseNumbers(device, model, parameter);
  const values = new Float32Array(sorted.length * width);
  sorted.forEach((id, place) => values.set(base.subarray(id * width, (id + 1) * width), place * width));
  const name = `${prefix}${moduleOf(parameter)}.token_adapter.trainable_tokens_delta`;
  return [parameter.name, { kind: "rows", tensor: name, ids: sorted, values, width }];
}

/**
 * What a new adapter trains beside its linears; nothing unless asked.
 *
 * @throws ConfigError for a module that the model does not have as floats; RangeError for a token past its embedding.
 */
export async function savedParameters(
  device: Device,
  model: Model,
  { modulesToSave = [], trainableTokenIndices = [] }: SavedOptions,
): Promise<SavedParameters> {
  const replacements = new Map<string, Replacement>();
  for (const parameter of modulesToSave.flatMap((module) => namedParameters(model, module))) {
    const data = tensor(await baseNumbers(device, model, parameter), parameter.shape);
    replacements.set(parameter.name, { kind: "whole", tensor: `${prefix}${parameter.name}`, data });
  }
  if (trainableTokenIndices.length > 0) {
    const [name, rows] = await tokenRows(device, model, trainableTokenIndices);
    if (replacements.has(name)) {
      throw new RangeError(`Cannot train "${name}" by modulesToSave and by trainableTokenIndices: take one`);
    }
    const head = model.parameters[model.parameters.length - 1];
    if (head.tiedTo === name && replacements.has(head.name)) {
      throw new RangeError(
        `Cannot train tokens of "${name}" and the whole "${head.name}", which is tied to it: PEFT loads no such adapter`,
      );
    }
    replacements.set(name, rows);
  }
  return {
    replacements,
    config: {
      ...modulesToSave.length > 0 ? { modules_to_save: [...new Set(modulesToSave)] } : {},
      ...trainableTokenIndices.length > 0 ? { trainable_token_indices: [...trainableTokenIndices] } : {},
    },
  };
}

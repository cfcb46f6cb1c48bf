/**
 * What an adapter has in the place of its model's norms, embeddings and head, as numbers to train.
 *
 * @module
 */
import { widen } from "../../kernels/half.ts";
import { checkReplacement } from "../adapters/own_changes.ts";
import type { Parameter } from "../adapters/parameters.ts";
import type { Replacement, Replacements } from "../adapters/replacements.ts";
import type { Device } from "../device/device.ts";
import { modelBase } from "../engine/base.ts";
import { ConfigError } from "../errors.ts";
import type { Model } from "../models/model.ts";
import { elements, type HostTensor, slice, tensor } from "../tensor.ts";
import { headRows, type OwnParameters, type OwnPart } from "../training/own_parameters.ts";

/** An adapter's fields that say what is trained. */
export interface OwnAdapterParts {
  readonly config: Readonly<Record<string, unknown>>;
  readonly replacements: Replacements;
}

/** Bound buffers start at multiples of 256 bytes. */
const alignment = 64;

const cannot = (tensorName: string, why: string): ConfigError =>
  new ConfigError(`Cannot train adapter tensor "${tensorName}": ${why}`);

/** The model's own numbers of a parameter, as its files have them. */
export async function baseNumbers(
  device: Device,
  model: Model,
  { kind, name, shape, base }: Parameter,
): Promise<Float32Array> {
  if (kind === "head") {
    const linear = modelBase(device, model)(name.replace(/\.weight$/, ""))!;
    return await linear.weight();
  }
  if (!base) throw new ConfigError(`Cannot train "${name}": the model has none`);
  const read = await device.read(slice(base.tensor, base.at, shape));
  const values = widen(read, base.tensor.dtype), { plus = 0 } = base;
  return plus === 0 ? values.slice() : values.map((value) => value - plus);
}

/** The parameter that a replacement stands for; throws ConfigError where it cannot be trained. */
function parameterOf({ linears, parameters }: Model, name: string, replacement: Replacement): Parameter {
  const at = parameters.findIndex((one) => one.name === name), found = parameters[at];
  if (!found) throw cannot(replacement.tensor, `the base model has no "${name}" that is kept as floats`);
  checkReplacement(replacement, found);
  if (at < linears.length) throw cannot(replacement.tensor, `biases of linears are not trained`);
  if (replacement.kind === "factors") {
    throw cannot(replacement.tensor, "factors of embeddings are not trained");
  }
  if (replacement.kind === "rows" && found.kind !== "embedding") {
    throw cannot(replacement.tensor, "rows are trained of embeddings alone");
  }
  return found;
}

/** The file's row of each of the rows that are in ascending order. */
function fileOrder({ ids, tensor }: { ids: Uint32Array; tensor: string }, config: OwnAdapterParts["config"]) {
  const field = config[tensor.includes(".token_adapter.") ? "trainable_token_indices" : "token_indices"];
  const listed = Array.isArray(field)
    ? field
    : Object.entries(field as object).find(([key]) => tensor.includes(`${key}.`))![1];
  return (listed as readonly number[]).map((id) => ids.indexOf(id));
}

/** Rows in the order of the file. */
function inFileOrder(values: Float32Array, order: readonly number[], width: number): Float32Array {
  const made = new Float32Array(values.length);
  order.forEach((from, to) => made.set(values.subarray(from * width, (from + 1) * width), to * width));
  return made;
}

interface Made extends OwnPart {
  readonly values: Float32Array;
  /** The tensor of the file. */
  readonly stored: (values: Float32Array) => HostTensor;
  readonly tensor: string;
}

function partOf(
  parameter: Parameter,
  replacement: Exclude<Replacement, { kind: "factors" }>,
  { at, config }: { readonly at: number; readonly config: OwnAdapterParts["config"] },
): Made {
  if (replacement.kind === "whole") {
    const { data: { data, dtype, shape }, tensor: name } = replacement;
    const stored = (values: Float32Array) => tensor(values.slice(), shape);
    return { parameter, at, shape, tensor: name, values: widen(data, dtype), stored };
  }
  const { ids, width, values, tensor: name } = replacement, shape = [ids.length, width];
  const order = fileOrder(replacement, config);
  const stored = (values: Float32Array) => tensor(inFileOrder(values, order, width), shape);
  return { parameter, at, shape, ids, tensor: name, values, stored };
}

function packed(made: readonly Made[]): Float32Array {
  const last = made[made.length - 1], end = last.at + last.values.length;
  const values = new Float32Array(alignment * Math.ceil(end / alignment));
  for (const { at, values: own } of made) values.set(own, at);
  return values;
}

/**
 * What an adapter has of its own, to be trained; undefined where there is nothing.
 *
 * @throws ConfigError that names the tensor which cannot be trained.
 */
export async function ownParameters(
  device: Device,
  model: Model,
  { config, replacements }: OwnAdapterParts,
): Promise<OwnParameters | undefined> {
  const made: Made[] = [];
  let end = 0;
  for (const [name, replacement] of replacements) {
    const parameter = parameterOf(model, name, replacement);
    if (replacement.kind === "factors") continue;
    const part = partOf(parameter, replacement, { at: end, config });
    made.push(part);
    end = alignment * Math.ceil((end + part.values.length) / alignment);
  }
  if (made.length === 0) return undefined;
  if (4 * end > device.maxTensorBytes) {
    throw new RangeError(
      `Cannot train ${end} numbers beside linears: no buffer of the device has more than ${device.maxTensorBytes} bytes`,
    );
  }
  if (config.ensure_weight_tying === true && made.some(({ parameter: { kind } }) => kind === "embedding")) {
    throw cannot(made[0].tensor, `with "ensure_weight_tying" the embedding and the head are one`);
  }
  return {
    parts: made,
    values: packed(made),
    parameters: made.reduce((sum, { values }) => sum + values.length, 0),
    headTable: await headTableOf(device, model, made),
    tensors: (values) =>
      new Map(made.map(({ tensor, stored, at, shape }) => [
        tensor,
        stored(values.subarray(at, at + elements(shape))),
      ])),
  };
}

async function headTableOf(
  device: Device,
  model: Model,
  parts: readonly OwnPart[],
): Promise<HostTensor | undefined> {
  const head = model.parameters[model.parameters.length - 1], rows = headRows(parts);
  const isWhole = parts.some(({ parameter }) => parameter === head);
  if (!rows || isWhole || head.tiedTo !== rows.parameter.name) return undefined;
  return tensor(await baseNumbers(device, model, head), head.shape);
}

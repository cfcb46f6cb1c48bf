/**
 * An adapter's own parameters, checked against its base model and made ready for a device.
 *
 * Biases and norms are kept as differences from the model's: a forward is linear in them, so that a step adds what they change
 * after the model's own step has run. Rows of tables are kept as they are.
 *
 * @module
 */
import { widen } from "../../kernels/half.ts";
import { ConfigError } from "../errors.ts";
import { elements, type HostTensor, type Tensor } from "../tensor.ts";
import { isSum } from "./alone.ts";
import type { AdapterModule, Method } from "./method.ts";
import { checkReach } from "./numbers.ts";
import type { Parameter } from "./parameters.ts";
import type { Replacement, Replacements, TableFactors, TableRows } from "./replacements.ts";

/** Numbers in a bank, and how its kernels find them: see the kernels of `own_*`. */
export interface OwnNumbers {
  /** The parameter's number among the model's. */
  readonly parameter: number;
  readonly values: Float32Array;
  /** Ids of rows, ascending. */
  readonly ids?: Uint32Array;
  /** Of vectors their size, of tables their rows, of factors their rank. */
  readonly count: number;
  /** Whether a table's values are factors. */
  readonly scale?: number;
}

/** A table that is too large for a bank: a tensor of its own on the device. */
export interface OwnTable {
  readonly parameter: number;
  readonly data: HostTensor;
}

/** What an adapter changes beside linears. */
export interface OwnChanges {
  readonly numbers: readonly OwnNumbers[];
  readonly tables: readonly OwnTable[];
}

/** The base model, as far as adapters have their own of it. */
export interface OwnBase {
  readonly parameters: readonly Parameter[];
  /** The numbers of a tensor on the device. */
  readonly read: (t: Tensor) => Promise<Float32Array>;
}

/** What is needed of an adapter. */
export interface OwnParts {
  readonly method: Method;
  readonly config: Readonly<Record<string, unknown>>;
  /** As they were read: what they need of the base shows. */
  readonly modules: ReadonlyMap<string, AdapterModule>;
  readonly replacements: Replacements;
}

/** Whole tables of more numbers get a tensor of their own. */
const mostNumbers = 2 ** 14;

/** Reads tensors of a device once each. A failure is no answer to keep. */
export function readOnce(read: (t: Tensor) => Promise<Float32Array>): (t: Tensor) => Promise<Float32Array> {
  const known = new Map<Tensor, Promise<Float32Array>>();
  return async (t) => {
    const asked = known.get(t) ?? read(t);
    known.set(t, asked);
    try {
      return await asked;
    } catch (error) {
      if (known.get(t) === asked) known.delete(t);
      throw error;
    }
  };
}

const isVector = ({ kind }: Parameter): boolean => kind === "bias" || kind === "norm";

function shapeError({ tensor, ...found }: Replacement, { name, shape }: Parameter): ConfigError {
  const size = found.kind === "whole"
    ? `[${found.data.shape}]`
    : found.kind === "rows"
    ? `rows of ${found.width}`
    : `factors (${found.a.length / found.rank}, ${found.rank}) and (${
      found.b.length / found.rank
    }, ${found.rank})`;
  return new ConfigError(
    `Cannot use adapter tensor "${tensor}" in the place of the base model's "${name}": it has ${size}, the model's shape is [${shape}]`,
  );
}

/**
 * Refuses a replacement that does not fit its parameter.
 *
 * @throws ConfigError that names the tensor and the rule.
 */
export function checkReplacement(replacement: Replacement, parameter: Parameter): void {
  const { shape, name } = parameter, { tensor } = replacement;
  if (replacement.kind === "whole") {
    const found = replacement.data.shape;
    if (found.length === shape.length && found.every((size, i) => size === shape[i])) return;
    throw shapeError(replacement, parameter);
  }
  if (isVector(parameter)) {
    throw new ConfigError(
      `Cannot use adapter tensor "${tensor}" for the base model's "${name}": it has rows of a table, "${name}" is a vector`,
    );
  }
  const [entries, width] = shape;
  if (replacement.kind === "factors") {
    if (parameter.kind !== "embedding") {
      throw new ConfigError(
        `Cannot use adapter tensor "${tensor}" for the base model's "${name}": factors of an embedding do not fit a ${parameter.kind}`,
      );
    }
    const { a, b, rank } = replacement;
    if (a.length !== entries * rank || b.length !== width * rank) throw shapeError(replacement, parameter);
    return;
  }
  if (replacement.width !== width) throw shapeError(replacement, parameter);
  const most = replacement.ids[replacement.ids.length - 1];
  if (most < entries) return;
  throw new ConfigError(
    `Cannot use adapter tensor "${tensor}": it has a row for token ${most}, the base model's "${name}" has rows for 0..${
      entries - 1
    }`,
  );
}

/** A head, and the embedding that it has its weight from. */
type TiedHead = Pick<Parameter, "name" | "tiedTo">;

/**
 * PEFT writes a tied head's own tensors where it ties them. A file without them is not of such a PEFT.
 *
 * @throws ConfigError that names the tensor.
 */
function checkTied(
  { config, modules }: Pick<OwnParts, "config" | "modules">,
  { tensor }: Replacement,
  { name, tiedTo }: TiedHead,
): void {
  const isTiedByPeft = config.ensure_weight_tying === true && /(^|\.)embed_tokens\.weight$/.test(tiedTo!);
  if (!isTiedByPeft || modules.has(name.replace(/\.weight$/, ""))) return;
  throw new ConfigError(
    `Cannot use adapter tensor "${tensor}" with "ensure_weight_tying": the file has nothing for "${name}", which is tied to it`,
  );
}

/**
 * All replacements: those of the file, and rows of tied heads, which are those of their embeddings.
 *
 * @throws ConfigError where a head is to be tied, and the file has nothing for it.
 */
export function withTiedHeads(
  adapter: Pick<OwnParts, "config" | "modules" | "replacements">,
  heads: readonly TiedHead[],
): Map<string, Replacement> {
  const all = new Map(adapter.replacements);
  for (const head of heads) {
    const replacement = head.tiedTo === undefined ? undefined : adapter.replacements.get(head.tiedTo);
    if (!replacement || all.has(head.name)) continue;
    if (replacement.kind === "rows") all.set(head.name, replacement);
    else checkTied(adapter, replacement, head);
  }
  return all;
}

/** A method that acts on the product of a weight, or is made with that weight, would have to know the adapter's own. */
function checkModule({ method, modules }: OwnParts, { kind, name }: Parameter): void {
  const path = name.replace(/\.weight$/, "");
  const module = kind === "head" ? modules.get(path) : undefined;
  if (!module || (isSum(method) && !module.ready)) return;
  throw new ConfigError(
    `Cannot use adapter module "${path}" together with the adapter's own "${name}": ${method.name} depends on that weight`,
  );
}

async function difference(
  { base, shape: [size], name }: Parameter,
  own: Float32Array,
  { read }: OwnBase,
): Promise<Float32Array> {
  if (!base) return own;
  const model = (await read(base.tensor)).subarray(base.at, base.at + size);
  return own.map((value, i) => {
    const change = value + (base.plus ?? 0) - model[i];
    checkReach(Math.abs(change), `an adapter's own "${name}": its difference from the model's`);
    return change;
  });
}

const numbersOf = ({ data, dtype }: HostTensor): Float32Array => widen(data, dtype);

function tableNumbers(parameter: number, replacement: TableRows | TableFactors): OwnNumbers {
  if (replacement.kind === "rows") {
    const { ids, values } = replacement;
    return { parameter, ids, values, count: ids.length };
  }
  const { a, b, rank, scale } = replacement;
  const values = new Float32Array(a.length + b.length);
  values.set(a);
  values.set(b, a.length);
  return { parameter, values, count: rank, scale };
}

const everyId = (count: number): Uint32Array => Uint32Array.from({ length: count }, (_, i) => i);

/** Vectors of modules' own biases (LoRA's `lora_B.bias`) are added to those that replace the base's. */
function addModuleBiases(
  { modules }: OwnParts,
  parameters: readonly Parameter[],
  vectors: Map<number, Float32Array>,
): void {
  for (const [path, { bias }] of modules) {
    if (!bias) continue;
    const at = parameters.findIndex(({ name }) => name === `${path}.bias`), sum = vectors.get(at);
    if (at < 0) {
      throw new ConfigError(`Cannot use the bias of module "${path}": the base model has no such linear`);
    }
    vectors.set(at, sum ? sum.map((value, i) => value + bias[i]) : bias);
  }
}

/**
 * What an adapter changes of a base model beside its linears; undefined where it changes nothing.
 *
 * @throws ConfigError that names a tensor which does not fit the base model, and the rule.
 */
export async function ownChanges(adapter: OwnParts, base: OwnBase): Promise<OwnChanges | undefined> {
  const { parameters } = base, numbers: OwnNumbers[] = [], tables: OwnTable[] = [];
  const known = new Map(parameters.map(({ name }, i) => [name, i]));
  const vectors = new Map<number, Float32Array>();
  for (const [name, replacement] of withTiedHeads(adapter, parameters)) {
    const at = known.get(name);
    if (at === undefined) {
      throw new ConfigError(
        `Cannot use adapter tensor "${replacement.tensor}": the base model has no bias, norm, embedding or head "${name}"`,
      );
    }
    const parameter = parameters[at];
    checkReplacement(replacement, parameter);
    if (replacement.kind !== "whole") {
      if (parameter.kind === "head") checkModule(adapter, parameter);
      numbers.push(tableNumbers(at, replacement));
    } else if (isVector(parameter)) {
      vectors.set(at, await difference(parameter, numbersOf(replacement.data), base));
    } else {
      checkModule(adapter, parameter);
      if (elements(parameter.shape) > mostNumbers) tables.push({ parameter: at, data: replacement.data });
      else {
        const count = parameter.shape[0];
        numbers.push({ parameter: at, ids: everyId(count), values: numbersOf(replacement.data), count });
      }
    }
  }
  addModuleBiases(adapter, parameters, vectors);
  for (const [parameter, values] of vectors) {
    if (values.some((value) => value !== 0)) numbers.push({ parameter, values, count: values.length });
  }
  return numbers.length + tables.length === 0 ? undefined : { numbers, tables };
}

/**
 * Low-rank factors as PEFT writes them for LoRA and what builds on it: B (out, r) and A (r, in), and a scale.
 *
 * @module
 */
import { mostRank } from "../../../kernels/lora/launch.ts";
import { ConfigError } from "../../errors.ts";
import { type HostTensor, tensor } from "../../tensor.ts";
import { flagField, numberField, patternField, refuseUnknown } from "../fields.ts";
import type { AdapterFiles, Factors, LinearShape } from "../method.ts";
import type { NewModule, OptionSpec } from "../training.ts";
import { checkReach, checkScale, finiteFloats } from "../numbers.ts";
import { checkRank, settingOf } from "./patterns.ts";

const prefix = "base_model.model.";

/** Numbers of one module's factors at most, where others than its own file decide how many there are. */
export const mostNumbers = 2 ** 26;

const known = [
  "alpha_pattern",
  "fan_in_fan_out", // only turns a stored weight at a merge
  "init_lora_weights",
  "lora_alpha",
  "lora_dropout", // training only
  "megatron_core",
  "qalora_group_size", // read with use_qalora alone
  "r", // the tensors say it
  "rank_pattern",
  "use_rslora",
  "eva_config", // a way to choose the first A
  "loftq_config", // read with init_lora_weights "loftq" alone, which is refused
];

const reasons = {
  lora_bias: "biases of B are supported in LoRA alone",
  alora_invocation_tokens: "activated LoRA is not supported",
};

/** Initialisations that leave the base weights as they are. */
const plainInits: readonly unknown[] = [true, false, null, undefined, "gaussian", "eva", "orthogonal"];

export type { Factors } from "../method.ts";

/** The names of tensors of factors, and of what DoRA and LoRA-XS have beside them, that end as a model's parameters do. */
export const factorNames =
  /\.lora_[AB]\.(weight|bias)$|\.lora_magnitude_vector\.weight$|_lora_latent_mapping\.weight$/;

/** Options of new factors, by PEFT's names. */
export const factorOptions: Readonly<Record<"r" | "lora_alpha", OptionSpec>> = {
  r: { kind: "count", least: 1, default: 8, doc: "rank" },
  lora_alpha: { kind: "number", default: 16, doc: "alpha" },
};

/** What PEFT's config says of new factors beside their options. */
export const factorConfig = {
  lora_dropout: 0,
  use_rslora: false,
  use_dora: false,
  init_lora_weights: true,
  fan_in_fan_out: false,
  bias: "none",
} as const;

/** No element of B A, scale B A or scale B is greater: dW is made of scale B. */
export function reachOf({ a, b, rank, in: inFeatures, scale }: Factors): number {
  const most = new Float64Array(rank);
  for (let r = 0, at = 0; r < rank; r++) {
    for (let q = 0; q < inFeatures; q++, at++) most[r] = Math.max(most[r], Math.abs(a[at]));
  }
  let reach = 0, greatest = 0;
  for (let at = 0; at < b.length; at += rank) {
    let sum = 0;
    for (let r = 0; r < rank; r++) {
      sum += Math.abs(b[at + r]) * most[r];
      greatest = Math.max(greatest, Math.abs(b[at + r]));
    }
    reach = Math.max(reach, sum);
  }
  return Math.max(reach, reach * Math.abs(scale), greatest * Math.abs(scale));
}

/**
 * Checks a config of factors, and refuses fields that nobody reads.
 *
 * @param own Fields that the method reads beside those of all factors.
 * @throws ConfigError that names the field and the rule.
 */
export function checkFactorsConfig(
  config: Readonly<Record<string, unknown>>,
  own: readonly string[] = [],
): void {
  refuseUnknown(config, { known: [...known, ...own], reasons });
  if (!plainInits.includes(config.init_lora_weights)) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "init_lora_weights" = ${
        JSON.stringify(config.init_lora_weights)
      }: ` +
        "it changed the base weights; convert the adapter to plain LoRA first (PEFT: path_initial_model_for_weight_conversion)",
    );
  }
  numberField(config, "lora_alpha", 8);
  patternField(config, "alpha_pattern");
  patternField(config, "rank_pattern");
  flagField(config, "use_rslora");
}

/**
 * What the product of a module's factors is multiplied by; its rank is checked against `rank_pattern`.
 *
 * @throws ConfigError that names the field and the rule.
 */
export function factorScale(config: Readonly<Record<string, unknown>>, path: string, rank: number): number {
  checkRank(config, path, rank);
  const from = settingOf(config, { field: "lora_alpha", pattern: "alpha_pattern", fallback: 8 }, path);
  const scale = from.value / (flagField(config, "use_rslora") ? Math.sqrt(rank) : rank);
  checkScale(scale, from);
  return scale;
}

/** The factors of one module. */
function factorsOf(
  { config, tensors }: AdapterFiles,
  { path, needs }: { readonly path: string; readonly needs: string },
): Factors {
  const nameA = `${prefix}${path}.lora_A.weight`;
  const nameB = `${prefix}${path}.lora_B.weight`;
  const a = tensors.get(nameA);
  const b = tensors.get(nameB);
  if (!a || !b) {
    throw new ConfigError(`Cannot find adapter tensor "${a ? nameB : nameA}": "${needs}" needs it`);
  }
  if (a.shape.length !== 2 || b.shape.length !== 2 || a.shape[0] !== b.shape[1] || a.shape[0] === 0) {
    throw new ConfigError(
      `Cannot use adapter tensors of module "${path}": lora_A must be (r, in) and lora_B (out, r) with one r > 0, ` +
        `they are (${a.shape}) and (${b.shape})`,
    );
  }
  const rank = a.shape[0];
  const scale = factorScale(config, path, rank);
  const factors = {
    a: finiteFloats(nameA, a),
    b: finiteFloats(nameB, b),
    rank,
    in: a.shape[1],
    out: b.shape[0],
    scale,
  };
  checkReach(reachOf(factors), `the product of adapter tensors "${nameB}" and "${nameA}"`);
  return factors;
}

/**
 * Reads the factors of every module, by path, in the file's order.
 *
 * @param own Matches the names of the method's other tensors, with the module's path as its first group.
 * @param beside Matches the names of tensors that are no part of a module of a linear.
 * @throws ConfigError that names the tensor and the rule.
 */
export function readFactors(
  files: AdapterFiles,
  { method, own, beside }: { readonly method: string; readonly own?: RegExp; readonly beside?: RegExp },
): Map<string, Factors> {
  const modules = new Map<string, Factors>();
  for (const name of files.tensors.keys()) {
    if (beside?.test(name)) continue;
    const [, path] = /^base_model\.model\.(.+)\.lora_[AB]\.weight$/.exec(name) ?? own?.exec(name) ?? [];
    if (path === undefined) {
      throw new ConfigError(
        `Cannot read adapter tensor "${name}" as ${method}: only ${prefix}<module>.lora_A.weight and .lora_B.weight are supported`,
      );
    }
    if (!modules.has(path)) modules.set(path, factorsOf(files, { path, needs: name }));
  }
  return modules;
}

/**
 * Factors whose product is the sum of others' products: rows of A and columns of B one after the other.
 *
 * @param scale The scale that they have; by default the largest of the parts', whose B stays as it is.
 * @throws RangeError for more than {@linkcode mostNumbers}.
 */
export function stackedFactors(
  parts: readonly Factors[],
  { out, in: inSize }: LinearShape,
  scale = Math.max(...parts.map((part) => Math.abs(part.scale))) || 1,
): Factors {
  const rank = parts.reduce((sum, part) => sum + part.rank, 0), numbers = rank * (inSize + out);
  if (numbers > mostNumbers) {
    throw new RangeError(
      `Cannot add up adapters: factors of rank ${rank} have ${numbers} numbers, at most ${mostNumbers} are accepted`,
    );
  }
  const b = new Float32Array(out * rank);
  let column = 0;
  for (const part of parts) {
    const factor = part.scale / scale;
    for (let o = 0; o < out; o++) {
      for (let r = 0; r < part.rank; r++) b[o * rank + column + r] = factor * part.b[o * part.rank + r];
    }
    column += part.rank;
  }
  return { a: joined(...parts.map(({ a }) => a)), b, rank, in: inSize, out, scale };
}

/** Refuses new modules of more numbers than can be trained, before these are allocated. */
export function checkNewNumbers(path: string, count: number, by: string): void {
  if (count <= mostNumbers) return;
  throw new RangeError(
    `Cannot make module "${path}" with ${by}: it would have ${count} numbers, at most ${mostNumbers} are allowed`,
  );
}

/**
 * New factors: A as torch's kaiming_uniform_(a = sqrt(5)), B zeros, so that the model starts as its base.
 *
 * @throws RangeError for a rank that makes more numbers than {@linkcode mostNumbers}.
 */
export function newFactors(
  shape: LinearShape,
  { r, lora_alpha: alpha }: Readonly<Record<string, number>>,
  { path, random }: Pick<NewModule, "path" | "random">,
): Factors {
  checkNewNumbers(path, r * (shape.in + shape.out), `r ${r}`);
  const bound = 1 / Math.sqrt(shape.in);
  const a = Float32Array.from({ length: r * shape.in }, () => bound * (2 * random() - 1));
  return { a, b: new Float32Array(shape.out * r), rank: r, in: shape.in, out: shape.out, scale: alpha / r };
}

/** Throws RangeError for a rank above those that kernels take. */
export function checkMostRank(path: string, rank: number): void {
  if (rank <= mostRank) return;
  throw new RangeError(`Cannot use module "${path}": its rank is ${rank}, at most ${mostRank} is accepted`);
}

/** A matrix (rows, columns), turned. */
export function turned(matrix: Float32Array, columns: number): Float32Array {
  const result = new Float32Array(matrix.length), rows = matrix.length / columns;
  for (let i = 0, at = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++, at++) result[j * rows + i] = matrix[at];
  }
  return result;
}

/** A (rank, in) and B (out, rank) as `lora_linear` takes them, then a module's other numbers. */
export function packedFactors(
  { a, b, rank }: Pick<Factors, "a" | "b" | "rank">,
  ...others: readonly Float32Array[]
): Float32Array {
  return joined(a, turned(b, rank), ...others);
}

/** Throws RangeError when factors are not those of a linear of this shape. */
export function checkFactors(factors: LinearShape, path: string, shape: LinearShape): void {
  if (factors.in === shape.in && factors.out === shape.out) return;
  throw new RangeError(
    `Cannot use module "${path}": its factors make a (${factors.out}, ${factors.in}) update, the weight is ` +
      `(${shape.out}, ${shape.in})`,
  );
}

/** Numbers one after the other. */
export function joined(...parts: readonly Float32Array[]): Float32Array {
  const values = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    values.set(part, at);
    at += part.length;
  }
  return values;
}

/** PEFT's tensors of factors that stand at the begin of `values`: A, then B. */
export function factorTensors(
  { a, b, rank, in: inFeatures, out }: Factors,
  values: Float32Array,
): [name: string, t: HostTensor][] {
  return [
    [".lora_A.weight", tensor(values.slice(0, a.length), [rank, inFeatures])],
    [".lora_B.weight", tensor(values.slice(a.length, a.length + b.length), [out, rank])],
  ];
}

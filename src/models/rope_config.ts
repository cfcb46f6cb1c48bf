/**
 * The rotary settings of a config.json, read as transformers 5.17 reads them (modeling_rope_utils).
 *
 * @module
 */
import { isJsonObject } from "../json.ts";
import { count, fail, type Fields, flag, positive } from "./config_fields.ts";

/** How rotary frequencies are stretched for long contexts; `originalMaxPositions` is the length the model learnt first. */
export type RopeScaling =
  | { readonly type: "default" }
  | { readonly type: "linear"; readonly factor: number }
  | { readonly type: "dynamic"; readonly factor: number; readonly originalMaxPositions: number }
  | {
    readonly type: "yarn";
    readonly factor: number;
    readonly originalMaxPositions: number;
    /** What cosines and sines are multiplied by. */
    readonly attentionFactor: number;
    readonly betaFast: number;
    readonly betaSlow: number;
    readonly truncate: boolean;
  }
  | {
    readonly type: "longrope";
    readonly originalMaxPositions: number;
    /** What cosines and sines are multiplied by. */
    readonly attentionFactor: number;
    /** headDim / 2 divisors of the frequencies, up to the original length and beyond it. */
    readonly shortFactor: readonly number[];
    readonly longFactor: readonly number[];
  }
  | {
    readonly type: "llama3";
    readonly factor: number;
    readonly lowFreqFactor: number;
    readonly highFreqFactor: number;
    readonly originalMaxPositions: number;
  };

/** What frequencies are computed from. */
export interface RopeConfig {
  /** Elements of a head that are turned: all, or the first. */
  readonly headDim: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
}

/** A config's rotary settings. */
export interface RopeSettings {
  readonly theta: number;
  readonly scaling: RopeScaling;
  /** Elements of a head that are turned. */
  readonly rotaryDim: number;
  /** Longest sequence that the scaling is made for. */
  readonly maxPositions: number;
}

/** What the other fields of a config.json say that rotary settings depend on. */
export interface RopeContext {
  readonly headDim: number;
  readonly maxPositions: number;
  /** Whether `partial_rotary_factor` is read; else it must be 1. */
  readonly isPartial?: boolean;
  /** `rope_theta` where it is absent. */
  readonly theta?: number;
  /** The types that there are, by the names that files have for them; by default all, by their own names. */
  readonly types?: Readonly<Record<string, RopeScaling["type"]>>;
}

const name = "rope_parameters";

/** Fields that transformers reads for one type or another. One that the given type does not read changes nothing. */
const known = new Set([
  ...["rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings", "attention_factor"],
  ...["beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate", "short_factor", "long_factor"],
  ...["low_freq_factor", "high_freq_factor", "partial_rotary_factor"],
  // YaRN's authors write it beside their settings; nothing reads it.
  "finetuned",
]);

/** The most positions a config is believed to have. */
const mostPositions = 2 ** 30;

/** The object with the settings: `rope_scaling` goes before `rope_parameters` unless it is empty. */
function settingsOf(fields: Fields): Fields {
  for (const field of ["rope_scaling", "rope_parameters"]) {
    const value = fields[field];
    if (value === undefined || value === null || value === false) continue;
    if (!isJsonObject(value)) fail(field, value, "it must be an object");
    if (Object.keys(value).length > 0) return value;
  }
  return {};
}

function checkKnown(own: Fields): void {
  for (const [field, value] of Object.entries(own)) {
    if (!known.has(field)) fail(`${name}.${field}`, value, "it may change the frequencies and is not known");
  }
}

/** Elements of a head that are turned: the first part of it, rounded down. */
function rotaryDimOf(own: Fields, fields: Fields, { headDim, isPartial = false }: RopeContext): number {
  const field = "partial_rotary_factor";
  const part = own[field] ?? fields[field] ?? 1;
  if (part === 1) return headDim;
  if (!isPartial) fail(field, part, "heads of this model type are not turned in part");
  const dim = typeof part === "number" ? Math.floor(headDim * part) : NaN;
  if (!(dim >= 2 && dim <= headDim && dim % 2 === 0)) {
    fail(field, part, `it must make an even part of heads of ${headDim}`);
  }
  return dim;
}

function thetaOf(own: Fields, fields: Fields, fallback = 10000): number {
  const from = "rope_theta" in own ? own : "rope_theta" in fields ? fields : { rope_theta: fallback };
  return positive(from, "rope_theta");
}

function originalOf(own: Fields, fields: Fields, maxPositions: number): number {
  const field = "original_max_position_embeddings";
  if (field in fields) return count(fields, field);
  return field in own ? count(own, field) : maxPositions;
}

function yarn(
  own: Fields,
  { original, maxPositions }: { original: number; maxPositions: number },
): RopeScaling {
  if (!("factor" in own)) fail(`${name}.factor`, undefined, "yarn needs a number");
  const factor = positive(own, "factor", maxPositions / original);
  const mscale = (scale: unknown): number => {
    if (typeof scale !== "number" || !Number.isFinite(scale)) {
      fail(`${name}.mscale`, scale, "it must be a number");
    }
    return factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
  };
  const implied = own.mscale && own.mscale_all_dim
    ? mscale(own.mscale) / mscale(own.mscale_all_dim)
    : mscale(1);
  return {
    type: "yarn",
    factor,
    originalMaxPositions: original,
    attentionFactor: attentionFactor(own, implied),
    // Here 0 means the default, too.
    betaFast: own.beta_fast === 0 ? 32 : positive(own, "beta_fast", 32),
    betaSlow: own.beta_slow === 0 ? 1 : positive(own, "beta_slow", 1),
    truncate: flag(own, "truncate", true),
  };
}

function attentionFactor({ attention_factor: value }: Fields, implied: number): number {
  const used = value ?? implied;
  if (typeof used !== "number" || !Number.isFinite(used) || used < 0) {
    fail(`${name}.attention_factor`, used, "it must be a finite number, not below 0");
  }
  return used;
}

function factorList(own: Fields, field: string, length: number): readonly number[] {
  const value = own[field];
  const isList = Array.isArray(value) && value.length === length &&
    value.every((one) => typeof one === "number" && Number.isFinite(one) && one > 0);
  if (!isList) fail(`${name}.${field}`, value, `longrope needs a list of ${length} positive numbers`);
  return value as readonly number[];
}

function longrope(own: Fields, original: number, { headDim, maxPositions }: RopeContext): RopeScaling {
  const factor = positive(own, "factor", maxPositions / original);
  const implied = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
  return {
    type: "longrope",
    originalMaxPositions: original,
    attentionFactor: attentionFactor(own, implied),
    shortFactor: factorList(own, "short_factor", headDim / 2),
    longFactor: factorList(own, "long_factor", headDim / 2),
  };
}

function typeNamed(named: unknown, types: NonNullable<RopeContext["types"]>): RopeScaling["type"] {
  if (typeof named === "string" && Object.hasOwn(types, named)) return types[named];
  fail(`${name}.rope_type`, named, `supported are ${Object.keys(types).join(", ")} for this model type`);
}

function scalingOf(own: Fields, fields: Fields, context: RopeContext): RopeScaling {
  const { headDim, maxPositions, types } = context;
  const named = "rope_type" in own ? own.rope_type : "type" in own ? own.type : "default";
  const type = types ? typeNamed(named, types) : named;
  const original = (): number => originalOf(own, fields, maxPositions);
  switch (type) {
    case "default":
      return { type };
    case "linear":
      return { type, factor: positive(own, "factor") };
    case "dynamic":
      if (headDim < 4) fail("head_dim", headDim, "dynamic rotary scaling needs 4 or more");
      return { type, factor: positive(own, "factor"), originalMaxPositions: maxPositions };
    case "yarn":
      return yarn(own, { original: original(), maxPositions });
    case "longrope":
      return longrope(own, original(), context);
    case "llama3":
      return {
        type,
        factor: positive(own, "factor"),
        lowFreqFactor: positive(own, "low_freq_factor"),
        highFreqFactor: positive(own, "high_freq_factor"),
        originalMaxPositions: original(),
      };
    default:
      return fail(
        `${name}.rope_type`,
        type,
        "supported are default, linear, dynamic, yarn, longrope and llama3",
      );
  }
}

/**
 * The longest sequence: linear scaling stretches `max_position_embeddings` by its factor, yarn the original length. Dynamic
 * scaling follows a sequence of any length. In files with llama3 and longrope scaling `max_position_embeddings` is the
 * stretched length already.
 */
function longest(scaling: RopeScaling, maxPositions: number): number {
  if (scaling.type === "dynamic") return mostPositions;
  const stretched = scaling.type === "linear"
    ? maxPositions * scaling.factor
    : scaling.type === "yarn"
    ? scaling.originalMaxPositions * scaling.factor
    : 0;
  return Math.max(maxPositions, Math.min(Math.floor(stretched), mostPositions));
}

/**
 * Reads `rope_parameters`, or `rope_scaling` and `rope_theta` of older files.
 *
 * @throws ConfigError that names the field, its value and the rule; for a field or type that is not known, too.
 */
export function parseRope(fields: Fields, context: RopeContext): RopeSettings {
  return settings(settingsOf(fields), fields, context);
}

function settings(own: Fields, fields: Fields, context: RopeContext): RopeSettings {
  checkKnown(own);
  const rotaryDim = rotaryDimOf(own, fields, context);
  const theta = thetaOf(own, fields, context.theta);
  const scaling = scalingOf(own, fields, { ...context, headDim: rotaryDim });
  return { theta, scaling, rotaryDim, maxPositions: longest(scaling, context.maxPositions) };
}

/** Rotary settings of a model whose layers with sliding windows have their own. */
export interface RopesByLayer {
  readonly global: RopeSettings;
  /** Of layers with sliding windows. */
  readonly local: RopeConfig;
}

/**
 * Reads `rope_parameters` of models that have settings for each type of layer; or, of older files, `rope_scaling` and
 * `rope_theta` of full attention, and `rope_local_base_freq` of sliding attention.
 *
 * @throws ConfigError as {@linkcode parseRope}, and for settings of sliding attention that depend on the length.
 */
export function parseRopes(fields: Fields, context: RopeContext): RopesByLayer {
  const types = ["full_attention", "sliding_attention"];
  const given = fields.rope_parameters ?? {};
  if (!isJsonObject(given)) fail(name, given, "it must be an object");
  for (const [field, value] of Object.entries(given)) {
    if (!types.includes(field)) {
      fail(`${name}.${field}`, value, `settings are those of ${types.join(" and ")}`);
    }
  }
  const of = (type: string, older: Fields): Fields => {
    const value = given[type] ?? {};
    if (!isJsonObject(value)) fail(`${name}.${type}`, value, "it must be an object");
    return { ...value, ...older };
  };
  const scaled = fields.rope_scaling ?? {};
  if (!isJsonObject(scaled)) fail("rope_scaling", scaled, "it must be an object");
  const { rope_theta: theta = 1e6, rope_local_base_freq: localTheta = 1e4, partial_rotary_factor } = fields;
  const shared = { partial_rotary_factor };
  const global = settings(of("full_attention", scaled), { rope_theta: theta, ...shared }, context);
  const local = settings(of("sliding_attention", {}), { rope_theta: localTheta, ...shared }, context);
  if (local.scaling.type === "dynamic" || local.scaling.type === "longrope") {
    fail(
      `${name}.sliding_attention.rope_type`,
      local.scaling.type,
      "supported are types that no length changes",
    );
  }
  return {
    global,
    local: { headDim: local.rotaryDim, ropeTheta: local.theta, ropeScaling: local.scaling },
  };
}

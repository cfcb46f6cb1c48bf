/**
 * The fields of a config.json from the metadata of a GGUF file.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import type { GgufHeader } from "../../gguf/header.ts";
import type { Fields } from "../config_fields.ts";
import type { Architecture } from "./architecture.ts";
import { failKey, type Metadata, numberAt, textAt } from "./metadata.ts";
import { type RopeFactors, ropeFactorsNames } from "./names.ts";

/** Keys of any architecture that are looked at beside its fields, or change nothing. */
const otherKeys = new Set([
  ...["vocab_size", "rope.dimension_count", "attention.value_length", "expert_count", "expert_used_count"],
  ...["rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length"],
  "rope.scaling.finetuned",
]);

/** Keys beside them of architectures with longrope. */
const longRopeKeys = ["rope.scaling.attn_factor"];

/** The architecture of a file, and what its keys begin with. */
export function architectureOf(
  metadata: Metadata,
  architectures: Readonly<Record<string, Architecture>>,
): { readonly name: string; readonly own: Architecture } {
  const key = "general.architecture", name = textAt(metadata, key);
  if (name !== undefined && Object.hasOwn(architectures, name)) return { name, own: architectures[name] };
  return failKey(metadata, key, `supported are ${Object.keys(architectures).join(", ")}`);
}

function refuseOthers(metadata: Metadata, name: string, own: Architecture): void {
  for (const key of metadata.keys()) {
    const rest = key.startsWith(`${name}.`) ? key.slice(name.length + 1) : undefined;
    if (rest === undefined || Object.hasOwn(own.fields, rest) || otherKeys.has(rest)) continue;
    if (own.hasLongRope && longRopeKeys.includes(rest)) continue;
    failKey(metadata, key, "it may change what the model computes and is not known");
  }
  if ((numberAt(metadata, `${name}.expert_count`) ?? 0) !== 0) {
    failKey(metadata, `${name}.expert_count`, "mixtures of experts are not supported");
  }
  if ((numberAt(metadata, "split.count") ?? 1) > 1) {
    failKey(
      metadata,
      "split.count",
      "a file must have all parts of the model; merge them into one",
    );
  }
}

/** Whether sizes that the config has once are the same wherever the file has them. */
function checkHeads(metadata: Metadata, name: string, { isPartlyTurned = false }: Architecture): void {
  const at = (key: string): number | undefined => numberAt(metadata, `${name}.${key}`);
  const heads = at("attention.head_count") ?? NaN, width = at("embedding_length") ?? NaN;
  const headDim = at("attention.key_length") ?? width / heads;
  const same = ["attention.value_length", ...isPartlyTurned ? [] : ["rope.dimension_count"]];
  for (const key of same) {
    if ((at(key) ?? headDim) !== headDim) {
      failKey(metadata, `${name}.${key}`, `it must be the size of a head, ${headDim}`);
    }
  }
}

/** `rope_scaling`; empty where there is none. */
function scalingOf(metadata: Metadata, name: string, { hasLongRope = false }: Architecture): Fields {
  const type = textAt(metadata, `${name}.rope.scaling.type`) ?? "none";
  const factor = numberAt(metadata, `${name}.rope.scaling.factor`);
  const original = numberAt(metadata, `${name}.rope.scaling.original_context_length`);
  if (type === "none" || (hasLongRope && type === "longrope")) return {};
  if (type === "linear") return { rope_scaling: { rope_type: "linear", factor } };
  if (type !== "yarn") {
    failKey(metadata, `${name}.rope.scaling.type`, "supported are none, linear and yarn");
  }
  const scaling = { rope_type: "yarn", factor };
  return {
    rope_scaling: original === undefined
      ? scaling
      : { ...scaling, original_max_position_embeddings: original },
  };
}

/**
 * Divisors of the rotary frequencies, as files of Llama 3 have them in place of its settings. Longrope is the config's word
 * for such: the short ones hold up to the original length, the long ones beyond.
 */
function divided(factors: readonly number[], maxPositions: unknown): Fields {
  return {
    rope_scaling: {
      rope_type: "longrope",
      short_factor: factors,
      long_factor: factors,
      attention_factor: 1,
      original_max_position_embeddings: maxPositions,
    },
  };
}

/**
 * Rotary settings, whose divisors may be tensors of the file.
 *
 * @throws ConfigError for divisors that the architecture has no use for, and for settings beside them.
 */
function rotaryOf(
  metadata: Metadata,
  { name, own, factors: { all, short, long }, maxPositions }: {
    readonly name: string;
    readonly own: Architecture;
    readonly factors: RopeFactors;
    readonly maxPositions: unknown;
  },
): Fields {
  const scaling = scalingOf(metadata, name, own), given = [all, short, long].filter((factors) => factors);
  if (given.length === 0) return scaling;
  const tensors = Object.entries({ all, short, long }).flatMap(([kind, numbers]) =>
    numbers ? [`"${ropeFactorsNames[kind as keyof RopeFactors]}"`] : []
  ).join(" and ");
  if (Object.keys(scaling).length > 0) {
    failKey(metadata, `${name}.rope.scaling.type`, `the file has frequencies of its own in ${tensors}`);
  }
  if (all && !short && !long) return divided(all, maxPositions);
  if (!own.hasLongRope || !short || !long || all) {
    throw new ConfigError(
      `Cannot use the GGUF file: it has ${tensors}, and an architecture of ${name} has ` +
        (own.hasLongRope ? "both of short and long divisors, or neither" : "none"),
    );
  }
  const attentionFactor = numberAt(metadata, `${name}.rope.scaling.attn_factor`);
  return {
    rope_scaling: {
      rope_type: "longrope",
      short_factor: short,
      long_factor: long,
      ...(attentionFactor === undefined ? {} : { attention_factor: attentionFactor }),
    },
  };
}

/** Fields whose keys a file must have. */
function fieldsOf(
  metadata: Metadata,
  name: string,
  { fields, optional }: Architecture,
): Readonly<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const [key, field] of Object.entries(fields)) {
    const value = numberAt(metadata, `${name}.${key}`);
    if (value !== undefined) found[field] = value;
    else if (!optional.includes(key)) {
      failKey(metadata, `${name}.${key}`, `an architecture of ${name} needs it`);
    }
  }
  return found;
}

/** The number of tokens, which is that of the embedding's rows. */
function vocabSizeOf({ tensors }: GgufHeader): number {
  const embedding = tensors.get("token_embd.weight");
  if (embedding?.shape.length === 2) return embedding.shape[0];
  throw new ConfigError('Cannot use the GGUF file: it has no matrix "token_embd.weight"');
}

/**
 * The fields of a config.json, not yet checked by the model's family.
 *
 * @param options `architectures` are those that are known; `ropeFactors` are divisors of rotary frequencies that tensors have.
 * @throws ConfigError that names the key, its value and the rule.
 */
export function configOfGguf(
  header: GgufHeader,
  { architectures, ropeFactors: factors = {} }: {
    readonly architectures: Readonly<Record<string, Architecture>>;
    readonly ropeFactors?: RopeFactors;
  },
): Fields {
  const { metadata, tensors } = header, { name, own } = architectureOf(metadata, architectures);
  refuseOthers(metadata, name, own);
  checkHeads(metadata, name, own);
  const fields = fieldsOf(metadata, name, own);
  const rotary = rotaryOf(metadata, { name, own, factors, maxPositions: fields.max_position_embeddings });
  const flags = Object.entries(own.flags ?? {}).map((
    [flag, tensor],
  ) => [flag, tensors.has(`blk.0.${tensor}`)]);
  return {
    model_type: own.modelType,
    ...fields,
    // Absence means as many as heads in files, and may mean another number in a config.json.
    ...("attention.head_count_kv" in own.fields
      ? { num_key_value_heads: fields.num_key_value_heads ?? fields.num_attention_heads }
      : {}),
    ...own.constants,
    ...own.derived?.(fields, (key) => numberAt(metadata, `${name}.${key}`)),
    ...Object.fromEntries(flags),
    ...rotary,
    vocab_size: vocabSizeOf(header),
    tie_word_embeddings: !tensors.has("output.weight"),
  };
}

/**
 * Reading a PEFT config strictly: every field is known to be read, known to be harmless, or refused by name.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";

/**
 * Fields of every method that only say how training went or what was chosen, where the tensors' names say that too, and
 * those that are read with the replaced parameters of every method.
 */
const harmless = new Set([
  "auto_mapping",
  "base_model_name_or_path",
  "bias",
  "ensure_weight_tying",
  "exclude_modules",
  "inference_mode",
  "layers_pattern",
  "layers_to_transform",
  "modules_to_save",
  "peft_type",
  "peft_version",
  "revision",
  "target_modules",
  "task_type",
  "trainable_token_indices",
]);

const isEmpty = (value: unknown): boolean =>
  value === null || value === false || value === undefined || value === "none" ||
  (typeof value === "object" && Object.keys(value as object).length === 0);

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
};

/**
 * Refuses every field that is neither in `known` nor empty (null, false, "none", [] or {}): it might change the forward.
 *
 * @param rule `known` fields, which the method reads, or that cannot change inference; `reasons` are words for fields whose
 * refusal deserves more than the rule.
 */
export function refuseUnknown(
  config: Readonly<Record<string, unknown>>,
  { known, reasons = {} }: {
    readonly known: readonly string[];
    readonly reasons?: Readonly<Record<string, string>>;
  },
): void {
  for (const [field, value] of Object.entries(config)) {
    if (harmless.has(field) || known.includes(field) || isEmpty(value)) continue;
    const reason = reasons[field] ?? "it may change what the adapter computes and is not supported";
    throw new ConfigError(`Cannot read adapter_config.json field "${field}" = ${shown(value)}: ${reason}`);
  }
}

/** A finite number field. */
export function numberField(
  config: Readonly<Record<string, unknown>>,
  field: string,
  fallback?: number,
): number {
  const value = config[field] ?? (field in config ? undefined : fallback);
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "${field}" as a finite number: it is ${shown(config[field])}`,
    );
  }
  return value;
}

/** A safe integer field. */
export function integerField(
  config: Readonly<Record<string, unknown>>,
  field: string,
  fallback?: number,
): number {
  const value = numberField(config, field, fallback);
  if (!Number.isSafeInteger(value)) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "${field}" as an integer: it is ${shown(value)}`,
    );
  }
  return value;
}

/** A field that is true or false; false where it is absent or null. */
export function flagField(config: Readonly<Record<string, unknown>>, field: string): boolean {
  const value = config[field] ?? false;
  if (typeof value === "boolean") return value;
  throw new ConfigError(
    `Cannot read adapter_config.json field "${field}" as true or false: it is ${shown(value)}`,
  );
}

/** An object field of pattern to number; empty when absent or null. */
export function patternField(
  config: Readonly<Record<string, unknown>>,
  field: string,
): ReadonlyMap<string, number> {
  const value = config[field] ?? {};
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "${field}" as an object: it is ${shown(value)}`,
    );
  }
  const entries = Object.entries(value as object);
  for (const [key, n] of entries) {
    if (typeof n !== "number" || !Number.isFinite(n)) {
      throw new ConfigError(
        `Cannot read adapter_config.json field "${field}.${key}" as a finite number: it is ${shown(n)}`,
      );
    }
  }
  return new Map(entries);
}

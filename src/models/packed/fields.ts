/**
 * Fields of config.json's `quantization_config`.
 *
 * @module
 */
import type { JsonObject } from "../../json.ts";

/** Throws a ConfigError that names the field, its value and the rule it breaks. */
export type Fail = (field: string, value: unknown, rule: string) => never;

/** The inputs of a group, or -1 for all. */
export function groupSizeField(fields: JsonObject, field: string, fail: Fail): number {
  const { [field]: value } = fields;
  const isSize = typeof value === "number" && Number.isSafeInteger(value) && (value > 0 || value === -1);
  return isSize ? value : fail(`quantization_config.${field}`, value, "it must be a positive integer or -1");
}

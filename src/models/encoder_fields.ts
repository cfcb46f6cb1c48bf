/**
 * Fields of a config.json that all encoders share.
 *
 * @module
 */
import { fail, type Fields } from "./config_fields.ts";
import type { EncoderConfig } from "./family.ts";

const problems = ["regression", "single_label_classification", "multi_label_classification"] as const;

/** The labels, in order: two that have no names where the config has none, as in transformers. */
export function labelsOf({ id2label: names }: Fields): readonly string[] {
  if (names === undefined || names === null) return ["LABEL_0", "LABEL_1"];
  const labels = new Map(Object.entries(Object(names)));
  const found = Array.from({ length: labels.size }, (_, i) => labels.get(`${i}`));
  if (found.length === 0 || !found.every((label) => typeof label === "string")) {
    return fail("id2label", names, "it must have a name for each number from 0 on");
  }
  return found;
}

/** What the labels are. */
export function problemOf({ problem_type: value }: Fields): EncoderConfig["problem"] {
  if (value === undefined || value === null) return undefined;
  return problems.find((known) => known === value) ??
    fail("problem_type", value, `it must be ${problems.join(", ")} or null`);
}

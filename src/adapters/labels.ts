/**
 * Names of an adapter's classes, which PEFT's two files have no place for.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { isJsonObject, parseJsonObject } from "../json.ts";

/** The file of the names, beside the adapter's two: `{"id2label": {"0": "sad", "1": "glad"}}`. */
export const labelsName = "labels.json";

const maxBytes = 1 << 20;

/**
 * The names of the labels of an adapter's classifier, in order; undefined for a folder without the file.
 *
 * @throws ConfigError that names the field and the rule.
 */
export async function readLabels(folder: ReadableFolder): Promise<readonly string[] | undefined> {
  if (!await folder.exists(labelsName)) return undefined;
  const { id2label } = parseJsonObject(await folder.readText(labelsName, { maxBytes }), labelsName);
  const names = isJsonObject(id2label) ? id2label : {}, count = Object.keys(names).length;
  const labels = Array.from({ length: count }, (_, i) => Object.hasOwn(names, i) ? names[i] : undefined);
  if (count > 0 && labels.every((label): label is string => typeof label === "string")) return labels;
  throw new ConfigError(
    `Cannot read "id2label" of ${labelsName}: it must be an object of texts by the numbers 0, 1, 2, ...`,
  );
}

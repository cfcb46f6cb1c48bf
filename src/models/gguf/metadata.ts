/**
 * Values of a GGUF file's metadata, checked by kind.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import type { GgufHeader, GgufValue } from "../../gguf/header.ts";

/** The metadata of a file. */
export type Metadata = GgufHeader["metadata"];

const shown = (value: GgufValue | undefined): string => {
  if (value === undefined) return "nothing";
  const text = Array.isArray(value) ? `a list of ${value.length}` : String(value);
  return text.length > 100 ? `${text.slice(0, 97)}...` : text;
};

/** Throws a ConfigError that names the key, its value and the rule. */
export function failKey(metadata: Metadata, key: string, rule: string): never {
  throw new ConfigError(`Cannot read GGUF metadata "${key}" = ${shown(metadata.get(key))}: ${rule}`);
}

/** A finite number; undefined where there is none. */
export function numberAt(metadata: Metadata, key: string): number | undefined {
  const value = metadata.get(key);
  if (value === undefined || (typeof value === "number" && Number.isFinite(value))) return value;
  return failKey(metadata, key, "it must be a number");
}

/** A text; undefined where there is none. */
export function textAt(metadata: Metadata, key: string): string | undefined {
  const value = metadata.get(key);
  if (value === undefined || typeof value === "string") return value;
  return failKey(metadata, key, "it must be a text");
}

/** True or false; `fallback` where there is neither. */
export function flagAt(metadata: Metadata, key: string, fallback: boolean): boolean {
  const value = metadata.get(key) ?? fallback;
  return typeof value === "boolean" ? value : failKey(metadata, key, "it must be true or false");
}

/** A list of texts; undefined where there is none. */
export function textsAt(metadata: Metadata, key: string): readonly string[] | undefined {
  const value = metadata.get(key);
  if (value === undefined) return undefined;
  if (Array.isArray(value) && value.every((one) => typeof one === "string")) return value;
  return failKey(metadata, key, "it must be a list of texts");
}

/** A list of finite numbers; undefined where there is none. */
export function numbersAt(metadata: Metadata, key: string): readonly number[] | undefined {
  const value = metadata.get(key);
  if (value === undefined) return undefined;
  const isList = Array.isArray(value) &&
    value.every((one) => typeof one === "number" && Number.isFinite(one));
  return isList ? value as readonly number[] : failKey(metadata, key, "it must be a list of numbers");
}

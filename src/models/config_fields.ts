/**
 * Fields of a config.json, checked by kind.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { type JsonObject, parseJsonObject } from "../json.ts";

/** A parsed config.json, or an object in it. */
export type Fields = JsonObject;

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 200 ? `${text.slice(0, 197)}...` : text;
};

/** Throws a ConfigError that names the field, its value and the rule. */
export function fail(field: string, value: unknown, rule: string): never {
  throw new ConfigError(`Cannot read config.json field "${field}" = ${shown(value)}: ${rule}`);
}

/** Parses a config.json. Throws ConfigError for what is no JSON object, and tells what it is where that is known. */
export function parseConfigText(text: string): Fields {
  return parseJsonObject(text, "config.json");
}

/** A positive integer; `fallback` where the field is absent or null. */
export function count(fields: Fields, field: string, fallback?: number): number {
  const value = fields[field] ?? fallback;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1) {
    fail(field, fields[field], "it must be a positive integer");
  }
  return value;
}

/** Layers of a model at most: more than any has, and few enough to be listed. */
const mostLayers = 4096;

/** The number of layers; `fallback` where the field is absent or null. */
export function layerCount(fields: Fields, field: string, fallback?: number): number {
  const layers = count(fields, field, fallback);
  if (layers > mostLayers) fail(field, fields[field], `it must be at most ${mostLayers}`);
  return layers;
}

/** A positive number; `fallback` where the field is absent or null. */
export function positive(fields: Fields, field: string, fallback?: number): number {
  const value = fields[field] ?? fallback;
  if (typeof value !== "number" || !(value > 0) || !Number.isFinite(value)) {
    fail(field, fields[field], "it must be a positive number");
  }
  return value;
}

/** True or false; `fallback` where the field is absent or null. */
export function flag(fields: Fields, field: string, fallback: boolean): boolean {
  const value = fields[field] ?? fallback;
  if (typeof value !== "boolean") fail(field, value, "it must be true or false");
  return value;
}

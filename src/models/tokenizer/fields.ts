/**
 * Fields of tokenizer.json, read once and checked.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { isJsonObject, type JsonObject } from "../../json.ts";

/** An object of tokenizer.json. */
export type Fields = JsonObject;

/** A field that breaks a rule. */
export function refuse(name: string, value: unknown, rule: string): ConfigError {
  const shown = JSON.stringify(value) ?? "absent";
  const short = shown.length > 80 ? `${shown.slice(0, 80)}...` : shown;
  return new ConfigError(`Cannot use tokenizer.json field "${name}" = ${short}: ${rule}`);
}

function reader<T>(kind: string, holds: (value: unknown) => value is T) {
  return (fields: Fields, name: string, absent?: T): T => {
    const value = fields[name] ?? absent;
    if (!holds(value)) throw refuse(name, fields[name], `it must be ${kind}`);
    return value;
  };
}

/** Each reads a field, or takes `absent` where it is null or missing. */
export const text = reader("a text", (value): value is string => typeof value === "string");
export const flag = reader("true or false", (value): value is boolean => typeof value === "boolean");
export const list = reader("a list", (value): value is readonly unknown[] => Array.isArray(value));
export const object = reader("an object", isJsonObject);
export const count = reader(
  "a whole number",
  (value): value is number => Number.isSafeInteger(value) && (value as number) >= 0,
);
export const character = reader(
  "one character",
  (value): value is string => typeof value === "string" && [...value].length === 1,
);

/** The objects of a list. */
export function objects(fields: Fields, name: string, absent?: readonly unknown[]): readonly Fields[] {
  return list(fields, name, absent).map((value) => {
    if (!isJsonObject(value)) throw refuse(name, value, "it must be a list of objects");
    return value;
  });
}

/** A vocabulary: each token's id. */
export function vocabulary(fields: Fields): Map<string, number> {
  const ids = new Map<string, number>();
  for (const [token, id] of Object.entries(object(fields, "vocab"))) {
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) > 0x7fffffff) {
      throw refuse("vocab", { [token]: id }, "a token's id must be a whole number");
    }
    ids.set(token, id as number);
  }
  return ids;
}

/** What a table of makers has for an object's `type`. */
export function byType<T>(
  fields: Fields,
  makers: Readonly<Record<string, (fields: Fields) => T>>,
  part: string,
): T {
  const type = text(fields, "type");
  if (!Object.hasOwn(makers, type)) throw refuse("type", type, `there is no ${part} of this type here`);
  return makers[type](fields);
}

/**
 * Values of JavaScript to values of a template.
 *
 * @module
 */
import { fail } from "./errors.ts";
import { Dict, type Value } from "./values.ts";

/** A number that was written with a point or an exponent: 1.0 is a float in Python, and prints as one. */
export class Float {
  constructor(readonly value: number) {}
}

/**
 * JSON's values as Python reads them: a whole number is an int.
 *
 * @throws TemplateError for what JSON has not, and for whole numbers above 2^53 - 1, which may have lost digits.
 */
export function toValue(value: unknown): Value {
  if (
    value === null || typeof value === "string" || typeof value === "boolean" || typeof value === "bigint"
  ) {
    return value;
  }
  if (typeof value === "number") return toNumber(value);
  if (value instanceof Float) return value.value;
  if (Array.isArray(value)) return value.map(toValue);
  if (typeof value !== "object") return fail(`a ${typeof value} cannot be given to a template`);
  const dict = new Dict();
  for (const [key, item] of Object.entries(value)) if (item !== undefined) dict.set(key, toValue(item));
  return dict;
}

function toNumber(value: number): Value {
  if (!Number.isInteger(value)) return value;
  return Number.isSafeInteger(value) ? BigInt(value) : fail(`the number ${value} may have lost digits`);
}

/** JSON text to values, with numbers that are written as floats told apart where the runtime can. */
export function parseJson(text: string): unknown {
  const revive = (_key: string, value: unknown, context?: { readonly source?: string }): unknown =>
    typeof value === "number" && /[.eE]/.test(context?.source ?? "") ? new Float(value) : value;
  return JSON.parse(text, revive);
}

/**
 * Truth and length of values.
 *
 * @module
 */
import { Dict, isList, Range, textOf, Thing, Tuple, Undefined, type Value, View } from "./values.ts";

/** The characters of a text, as Python counts them: code points. */
export function charsOf(text: string): readonly string[] {
  return /[\ud800-\udfff]/.test(text) ? Array.from(text) : text.split("");
}

/** How many characters a text has. */
export function charCount(text: string): number {
  return text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
}

/** `len(value)`; nothing for what has none. */
export function lengthOf(value: Value): number | undefined {
  const text = textOf(value);
  if (text !== undefined) return charCount(text);
  if (isList(value)) return value.length;
  if (value instanceof Tuple) return value.items.length;
  if (value instanceof Dict) return value.size;
  if (value instanceof View) return value.dict.size;
  if (value instanceof Range) return value.length;
  if (value instanceof Undefined) return 0;
  return value instanceof Thing ? value.length() : undefined;
}

/** `bool(value)` */
export function isTrue(value: Value): boolean {
  if (value === null || typeof value === "boolean") return value === true;
  if (typeof value === "bigint") return value !== 0n;
  if (typeof value === "number") return value !== 0;
  if (typeof value === "string") return value !== "";
  const length = lengthOf(value);
  return length === undefined || length > 0;
}

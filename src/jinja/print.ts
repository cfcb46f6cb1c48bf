/**
 * Values as text: `str` and `repr` of Python.
 *
 * @module
 */
import { fail } from "./errors.ts";
import { floatText } from "./floats.ts";
import {
  Dict,
  isList,
  Markup,
  Range,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.ts";

/** The text that `{{ value }}` writes. */
export function str(value: Value): string {
  if (typeof value === "string") return value;
  if (value instanceof Markup) return value.text;
  return value instanceof Undefined ? "" : repr(value);
}

/** A value as it stands in a printed list. */
export function repr(value: Value): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "bigint") return intText(value);
  if (typeof value === "number") return floatText(value);
  if (typeof value === "string") return quoted(value);
  if (value instanceof Markup) return `Markup(${quoted(value.text)})`;
  if (value instanceof Undefined) return "Undefined";
  if (isList(value)) return `[${value.map(repr).join(", ")}]`;
  if (value instanceof Tuple) {
    return value.items.length === 1 ? `(${repr(value.items[0])},)` : `(${value.items.map(repr).join(", ")})`;
  }
  if (value instanceof Dict) {
    return `{${[...value.entries()].map(([key, item]) => `${repr(key)}: ${repr(item)}`).join(", ")}}`;
  }
  if (value instanceof Range) {
    const { start, stop, step } = value;
    return step === 1n ? `range(${start}, ${stop})` : `range(${start}, ${stop}, ${step})`;
  }
  if (value instanceof View) return `dict_${value.kind}([${[...value].map(repr).join(", ")}])`;
  const text = value instanceof Thing ? value.repr(repr) : undefined;
  // Python prints an address, which is another each time.
  return text ?? fail(`a ${typeName(value)} cannot be printed`);
}

function intText(value: bigint): string {
  const text = value.toString();
  if (text.length > 4300) fail("a whole number of more than 4300 digits cannot be printed");
  return text;
}

const escapes: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Everything that Python's `str.isprintable` does not take for printable. */
const unprintable = /(?! )[\p{C}\p{Z}]/gu;

function hex(char: string): string {
  const code = char.codePointAt(0)!;
  const digits = code.toString(16);
  if (code < 0x100) return `\\x${digits.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = text.replace(/[\\\n\r\t]/g, (char) => escapes[char]).replace(unprintable, hex);
  return quote + (quote === "'" ? body.replaceAll("'", "\\'") : body) + quote;
}

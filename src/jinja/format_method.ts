/**
 * `str.format` of Python.
 *
 * @module
 */
import { fail } from "./errors.ts";
import { formatFloat, formatInt, isIntType, type Layout, padded } from "./number_format.ts";
import { repr, str } from "./print.ts";
import type { Run } from "./run.ts";
import { subscript } from "./sequences.ts";
import { charsOf } from "./truth.ts";
import { type CallArguments, intOf, orElse, textOf, typeName, type Value } from "./values.ts";

const replacement = /\{\{|\}\}|\{([^{}!:]*)(?:!([^{}:]*))?(?::([^{}]*))?\}|[{}]/g;

/** `template.format(...)`; fields within formats, and lookups by attribute, are not supported. */
export function formatText(template: string, given: CallArguments, run: Run): string {
  let next: number | undefined;
  const positional = (name: string): number => {
    if (name === "") {
      if (next === -1) fail("cannot switch from manual field specification to automatic field numbering");
      next = (next ?? 0) + 1;
      return next - 1;
    }
    if (next !== undefined && next >= 0) fail("cannot switch from automatic field numbering to manual");
    next = -1;
    return Number(name);
  };
  const text = template.replace(replacement, (all, path?: string, conversion?: string, format = "") => {
    if (all === "{{" || all === "}}") return all[0];
    if (path === undefined) return fail("a single brace, or a field within a format, is not supported");
    const [, name, keys] = /^([^.[]*)(.*)$/.exec(path)!;
    const value = /^\d*$/.test(name) ? given.args[positional(name)] : given.kwargs.get(name);
    if (value === undefined) return fail(`no value for the field {${path}}`);
    return formatValue(converted(lookUp(value, keys), conversion), format, run);
  });
  return run.made(text);
}

function lookUp(value: Value, keys: string): Value {
  if (keys === "") return value;
  const parts = [...keys.matchAll(/\[([^\]]+)\]/g)];
  if (parts.map(([all]) => all).join("") !== keys) {
    return fail("a lookup by attribute is not supported in format");
  }
  return parts.reduce<Value>((of, [, key]) => {
    const found = subscript(of, /^\d+$/.test(key) ? BigInt(key) : key);
    return orElse(found, () => fail(`no item "${key}" to format`));
  }, value);
}

function converted(value: Value, conversion: string | undefined): Value {
  if (conversion === undefined) return value;
  if (conversion === "s") return str(value);
  return conversion === "r" ? repr(value) : fail(`the conversion "!${conversion}" is not supported`);
}

const specification = /^(?:([^])?([<>=^]))?([-+ ])?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([a-zA-Z%])?$/u;

function formatValue(value: Value, format: string, run: Run): string {
  if (format === "") return str(value);
  const match = specification.exec(format);
  if (!match) return fail(`Invalid format specifier "${format}"`);
  const [, fill, align, sign, alternate, zero, width, comma, precision, type] = match;
  const isText = textOf(value) !== undefined;
  if (!isText && typeof value !== "number" && intOf(value) === undefined) {
    return fail(`unsupported format string passed to ${typeName(value)}.__format__`);
  }
  const layout: Layout = {
    fill: fill ?? (zero ? "0" : " "),
    align: (align as Layout["align"] | undefined) ?? (isText ? "<" : zero ? "=" : ">"),
    width: Number(width ?? 0),
  };
  if (isText) {
    if (sign || alternate || comma || layout.align === "=" || (type ?? "s") !== "s") {
      return fail(`the format "${format}" does not fit a text`);
    }
    const text = textOf(value)!;
    return padded(
      precision === undefined ? text : charsOf(text).slice(0, Number(precision)).join(""),
      layout,
      run,
    );
  }
  if (comma && zero) return fail("zeros with a thousands separator are not supported");
  const places = precision === undefined ? undefined : Number(precision);
  const plus = sign === "-" ? undefined : sign;
  const text = numberText(value, { type, plus, isAlternate: alternate !== undefined, precision: places });
  return padded(comma ? grouped(text, { comma, type }) : text, layout, run);
}

function numberText(
  value: Value,
  { type, ...style }: { type?: string; plus?: string; isAlternate: boolean; precision?: number },
): string {
  const int = intOf(value);
  if (int !== undefined && (type === undefined || isIntType(type))) {
    if (style.precision !== undefined) return fail("Precision not allowed in integer format specifier");
    if (type === "i" || type === "u") return fail(`Unknown format code '${type}'`);
    return formatInt(int, { ...style, type: type ?? "d" });
  }
  if (type === undefined) {
    if (style.precision !== undefined) return fail("a precision without a type is not supported");
    const text = str(value);
    return text.startsWith("-") ? text : (style.plus ?? "") + text;
  }
  if (!/[eEfFgG%]/.test(type)) return fail(`the format code "${type}" is not supported`);
  return formatFloat(Number(int ?? value), { ...style, type });
}

function grouped(text: string, { comma, type = "d" }: { comma: string; type?: string }): string {
  if (!/[dfFeEgG%]/.test(type)) return fail("a thousands separator is supported for decimal numbers only");
  return text.replace(/^([-+ ]?)(\d+)/, (_all, sign: string, digits: string) => {
    return sign + digits.replace(/\B(?=(?:\d{3})+$)/g, comma);
  });
}

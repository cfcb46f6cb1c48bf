/**
 * The `%` of texts.
 *
 * @module
 */
import { fail } from "./errors.ts";
import { formatFloat, formatInt, isIntType, padded } from "./number_format.ts";
import { repr, str } from "./print.ts";
import type { Run } from "./run.ts";
import { subscript } from "./sequences.ts";
import { charsOf } from "./truth.ts";
import {
  Dict,
  intOf,
  isList,
  Markup,
  orElse,
  Range,
  textOf,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

const field = /%(?:\(([^)]*)\))?([-+ 0#]*)(\*|\d+)?(?:\.(\*|\d*))?[hlL]?([^])?/g;

/** Values for the fields, one after another. */
class Values {
  #next = 0;
  readonly #given: readonly Value[];

  constructor(readonly source: Value) {
    this.#given = source instanceof Tuple ? source.items : [source];
  }
  take(): Value {
    if (this.#next >= this.#given.length) return fail("not enough arguments for format string");
    return this.#given[this.#next++];
  }
  named(name: string): Value {
    if (!(this.source instanceof Dict)) return fail("format requires a mapping");
    this.#next = this.#given.length;
    return orElse(subscript(this.source, name), () => fail(`no key ${repr(name)} to format`));
  }
  finish(): void {
    const { source } = this;
    const mayStay = isList(source) || source instanceof Dict || source instanceof Range ||
      source instanceof Undefined;
    if (this.#next < this.#given.length && !mayStay) {
      fail("not all arguments converted during string formatting");
    }
  }
}

/** `template % values` */
export function formatPercent(template: string, source: Value, run: Run): string {
  const values = new Values(source);
  const number = (text: string | undefined): number | undefined => {
    if (text !== "*") return text === undefined ? undefined : Number(text);
    return Number(intOf(values.take()) ?? fail("* wants int"));
  };
  const result = template.replace(field, (_all, key, flags: string, widthText, precisionText, type) => {
    if (type === "%") return "%";
    if (type === undefined) return fail("incomplete format");
    const width = number(widthText), precision = number(precisionText);
    const value = key === undefined ? values.take() : values.named(key);
    return padded(formatField(value, { type, flags, precision }), {
      fill: flags.includes("0") && !flags.includes("-") && !/[srac]/.test(type) ? "0" : " ",
      align: flags.includes("-") || (width ?? 0) < 0
        ? "<"
        : flags.includes("0") && !/[srac]/.test(type)
        ? "="
        : ">",
      width: Math.abs(width ?? 0),
    }, run);
  });
  values.finish();
  return run.made(result);
}

interface FieldStyle {
  readonly type: string;
  readonly flags: string;
  readonly precision: number | undefined;
}

function formatField(value: Value, { type, flags, precision }: FieldStyle): string {
  if (type === "s" || type === "r") {
    if (value instanceof Markup) return fail("% of a text that is marked safe is not supported");
    const text = type === "s" ? str(value) : repr(value);
    return precision === undefined ? text : charsOf(text).slice(0, precision).join("");
  }
  if (type === "c") return character(value);
  const plus = flags.includes("+") ? "+" : flags.includes(" ") ? " " : undefined;
  const style = { type, plus, precision, isAlternate: flags.includes("#") };
  if (isIntType(type) && type !== "b") return formatInt(wholeNumber(value, type), style);
  if (!/[eEfFgG]/.test(type)) return fail(`unsupported format character '${type}'`);
  const number = typeof value === "number" ? value : intOf(value);
  if (number === undefined) return notNumber(value, type);
  return formatFloat(Number(number), style);
}

function notNumber(value: Value, type: string): never {
  if (value instanceof Undefined) return value.fail();
  return fail(`%${type} format: a real number is required, not ${typeName(value)}`);
}

function wholeNumber(value: Value, type: string): bigint {
  if (typeof value === "number" && /[diu]/.test(type)) {
    return Number.isFinite(value) ? BigInt(Math.trunc(value)) : fail("cannot convert float to integer");
  }
  return intOf(value) ?? notNumber(value, type);
}

function character(value: Value): string {
  const code = intOf(value), text = textOf(value);
  if (code !== undefined && code >= 0n && code < 0x110000n && (code < 0xd800n || code > 0xdfffn)) {
    return String.fromCodePoint(Number(code));
  }
  return text !== undefined && charsOf(text).length === 1 ? text : fail("%c requires int or char");
}

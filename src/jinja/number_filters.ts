/**
 * Filters that make numbers, and the one for what is missing.
 *
 * @module
 */
import { arithmetic, toFloat } from "./arithmetic.ts";
import { type Operation, operation } from "./arguments.ts";
import { onlyAttribute } from "./attributes.ts";
import { fail } from "./errors.ts";
import { parseFloatText, parseIntText, rounded } from "./floats.ts";
import { numberOf } from "./operators.ts";
import { strip } from "./splitting.ts";
import { isTrue } from "./truth.ts";
import { textOf, typeName, Undefined, type Value } from "./values.ts";

/** The result of `float(value)`; nothing where Python raises TypeError or ValueError. */
function asFloat(value: Value): number | undefined {
  if (value instanceof Undefined) return value.fail();
  const number = numberOf(value), text = textOf(value);
  if (number !== undefined) return toFloat(number);
  if (text === undefined) return undefined;
  if (/[^\0-\x7f]/.test(text) && /\p{Nd}/u.test(text)) return fail("digits above ASCII are not supported");
  return parseFloatText(strip(text, undefined, "both"));
}

function whole(value: number): bigint | undefined {
  return Number.isFinite(value) ? BigInt(Math.trunc(value)) : undefined;
}

const int = operation([["default", 0n], ["base", 10n]], (value, given) => {
  const number = numberOf(value), text = textOf(value);
  if (typeof number === "bigint") return number;
  if (typeof number === "number") {
    if (number === Infinity || number === -Infinity) return fail("cannot convert float infinity to integer");
    return whole(number) ?? given.value(0);
  }
  if (text !== undefined) {
    const base = given.int(1);
    if (base !== 0 && (base < 2 || base > 36)) return given.value(0);
    if (/[^\0-\x7f]/.test(text) && /\p{Nd}/u.test(text)) return fail("digits above ASCII are not supported");
    const parsed = parseIntText(strip(text, undefined, "both"), base);
    if (parsed !== undefined) return parsed;
  }
  const float = asFloat(value);
  return (float === undefined ? undefined : whole(float)) ?? given.value(0);
});

const round = operation([["precision", 0n], ["method", "common"]], (value, given, run) => {
  const method = given.value(1), number = numberOf(value);
  if (method !== "common" && method !== "ceil" && method !== "floor") {
    return fail("method must be common, ceil or floor");
  }
  if (number === undefined) {
    return value instanceof Undefined ? value.fail() : fail(`round of a ${typeName(value)}`);
  }
  const places = given.int(0);
  if (method === "common") return roundCommon(number, places);
  const scale = arithmetic["**"](10n, BigInt(places), run);
  const scaled = arithmetic["*"](number, scale, run);
  const cut = typeof scaled === "number" ? BigInt(Math[method](scaled)) : scaled;
  return arithmetic["/"](cut, scale, run);
});

function roundCommon(number: bigint | number, places: number): Value {
  if (typeof number === "number") return Number.isFinite(number) ? rounded(number, places) : number;
  if (places >= 0) return number;
  if (places < -100) return 0n;
  const unit = 10n ** BigInt(-places), half = unit / 2n;
  const size = number < 0n ? -number : number, rest = size % unit, low = size - rest;
  const isUp = rest > half || (rest === half && (low / unit) % 2n === 1n);
  return (number < 0n ? -1n : 1n) * (isUp ? low + unit : low);
}

const orDefault = operation([["default_value", ""], ["boolean", false]], (value, given) => {
  const isMissing = value instanceof Undefined || (given.isTrue(1) && !isTrue(value));
  return isMissing ? given.value(0) : value;
});

/** The filters by name. */
export const numberFilters: Readonly<Record<string, Operation>> = {
  abs: operation([], (value) => {
    const number = numberOf(value);
    if (number === undefined) return fail(`bad operand type for abs(): '${typeName(value)}'`);
    return typeof number === "bigint" ? (number < 0n ? -number : number) : Math.abs(number);
  }),
  attr: operation([["name"]], (value, given) => onlyAttribute(value, given.text(0))),
  d: orDefault,
  default: orDefault,
  float: operation([["default", 0]], (value, given) => asFloat(value) ?? given.value(0)),
  int,
  round,
};

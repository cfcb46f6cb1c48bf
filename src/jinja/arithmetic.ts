/**
 * Arithmetic of two operands, as Python has it.
 *
 * @module
 */
import { fail } from "./errors.ts";
import { escapeHtml } from "./markup.ts";
import { numberOf } from "./operators.ts";
import { formatPercent } from "./percent.ts";
import type { Run } from "./run.ts";
import { intOf, isList, itemsOf, Markup, textOf, Tuple, typeName, Undefined, type Value } from "./values.ts";

type Arithmetic = (left: Value, right: Value, run: Run) => Value;

function unsupported(operator: string, left: Value, right: Value): never {
  if (left instanceof Undefined) return left.fail();
  if (right instanceof Undefined) return right.fail();
  return fail(`unsupported operand type(s) for ${operator}: '${typeName(left)}' and '${typeName(right)}'`);
}

/** Both as ints, or both as floats; nothing where one is no number. */
function pair(left: Value, right: Value): readonly [bigint, bigint] | readonly [number, number] | undefined {
  const a = numberOf(left), b = numberOf(right);
  if (a === undefined || b === undefined) return undefined;
  return typeof a === "bigint" && typeof b === "bigint" ? [a, b] : [toFloat(a), toFloat(b)];
}

/** A number as a float. */
export function toFloat(value: bigint | number): number {
  const float = Number(value);
  if (typeof value === "bigint" && !Number.isFinite(float)) fail("int too large to convert to float");
  return float;
}

const isInts = (
  both: readonly [bigint, bigint] | readonly [number, number],
): both is readonly [bigint, bigint] => typeof both[0] === "bigint";

const bitsOf = (value: bigint): number => value.toString(16).length * 4;

function add(left: Value, right: Value, run: Run): Value {
  const both = pair(left, right);
  if (both) return isInts(both) ? both[0] + both[1] : both[0] + both[1];
  const a = textOf(left), b = textOf(right);
  if (a !== undefined && b !== undefined) {
    if (left instanceof Markup || right instanceof Markup) {
      return new Markup(run.made(escapeHtml(left) + escapeHtml(right)));
    }
    return run.made(a + b);
  }
  if (isList(left) && isList(right)) {
    run.spend(left.length + right.length);
    return [...left, ...right];
  }
  if (left instanceof Tuple && right instanceof Tuple) return new Tuple([...left.items, ...right.items]);
  return unsupported("+", left, right);
}

function multiply(left: Value, right: Value, run: Run): Value {
  const both = pair(left, right);
  if (both) {
    if (!isInts(both)) return both[0] * both[1];
    run.checkBits(bitsOf(both[0]) + bitsOf(both[1]));
    return both[0] * both[1];
  }
  const isCount = intOf(left) !== undefined;
  const [of, by] = isCount ? [right, left] : [left, right];
  const times = intOf(by);
  if (times === undefined) return unsupported("*", left, right);
  const count = times < 0n ? 0 : Number(times);
  if (typeof of === "string") return run.repeat(of, count);
  if (of instanceof Markup) return new Markup(run.repeat(of.text, count));
  const items = itemsOf(of);
  if (!items) return unsupported("*", left, right);
  run.grow(items.length * count);
  const repeated = items.length === 0 ? [] : Array.from({ length: count }, () => items).flat();
  return isList(of) ? repeated : new Tuple(repeated);
}

function floorDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b !== 0n && (a < 0n) !== (b < 0n) ? quotient - 1n : quotient;
}

/** The remainder of floats: with the sign of the divisor, from the exact remainder. */
function floatModulo(a: number, b: number): number {
  const rest = a % b;
  if (rest === 0) return b < 0 ? -0 : 0;
  return (rest < 0) !== (b < 0) ? rest + b : rest;
}

function floatFloorDivide(a: number, b: number): number {
  const quotient = (a - floatModulo(a, b)) / b;
  if (quotient === 0) return a / b < 0 || Object.is(a / b, -0) ? -0 : 0;
  const whole = Math.floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

function divisor(value: bigint | number): void {
  if (value == 0) fail("division by zero");
}

function divide(left: Value, right: Value): Value {
  const both = pair(left, right);
  if (!both) return unsupported("/", left, right);
  divisor(both[1]);
  if (!isInts(both)) return both[0] / both[1];
  const [a, b] = both;
  if (bitsOf(a) > 56 || bitsOf(b) > 56) return fail("/ of whole numbers above 2^53 is not supported");
  return Number(a) / Number(b);
}

function modulo(left: Value, right: Value, run: Run): Value {
  if (left instanceof Markup) return fail("% of a text that is marked safe is not supported");
  if (typeof left === "string") return formatPercent(left, right, run);
  const both = pair(left, right);
  if (!both) return unsupported("%", left, right);
  divisor(both[1]);
  if (!isInts(both)) return floatModulo(both[0], both[1]);
  return both[0] - floorDivide(both[0], both[1]) * both[1];
}

function power(left: Value, right: Value, run: Run): Value {
  const both = pair(left, right);
  if (!both) return unsupported("**", left, right);
  if (isInts(both) && both[1] >= 0n) {
    run.checkBits(bitsOf(both[0]) * Number(both[1]));
    return both[0] ** both[1];
  }
  const [a, b] = [toFloat(both[0]), toFloat(both[1])];
  if (a === 0 && b < 0) return fail("0.0 cannot be raised to a negative power");
  if (a < 0 && !Number.isInteger(b)) return fail("complex numbers are not supported");
  if (a === 1 || (a === -1 && !Number.isFinite(b))) return 1;
  const result = a ** b;
  return Number.isFinite(result) || !Number.isFinite(a) || !Number.isFinite(b)
    ? result
    : fail("Result too large");
}

/** The operators of two operands. */
export const arithmetic: Readonly<Record<string, Arithmetic>> = {
  "+": add,
  "-"(left, right) {
    const both = pair(left, right);
    if (!both) return unsupported("-", left, right);
    return isInts(both) ? both[0] - both[1] : both[0] - both[1];
  },
  "*": multiply,
  "/": divide,
  "//"(left, right) {
    const both = pair(left, right);
    if (!both) return unsupported("//", left, right);
    divisor(both[1]);
    return isInts(both) ? floorDivide(both[0], both[1]) : floatFloorDivide(both[0], both[1]);
  },
  "%": modulo,
  "**": power,
};

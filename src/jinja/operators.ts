/**
 * Equality, order and membership, as Python has them.
 *
 * @module
 */
import { fail } from "./errors.ts";
import type { Run } from "./run.ts";
import { iterate } from "./sequences.ts";
import {
  Dict,
  intOf,
  isList,
  itemsOf,
  Range,
  textOf,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.ts";

/** An int or a float, bools included. */
export function numberOf(value: Value): bigint | number | undefined {
  return typeof value === "number" ? value : intOf(value);
}

/** `left == right` */
export function equals(left: Value, right: Value): boolean {
  if (left === right) return true;
  const a = numberOf(left), b = numberOf(right);
  if (a !== undefined && b !== undefined) return a == b;
  const text = textOf(left);
  if (text !== undefined) return text === textOf(right);
  if (left instanceof Undefined) return right instanceof Undefined;
  if (isList(left)) return isList(right) && sameItems(left, right);
  if (left instanceof Tuple) return right instanceof Tuple && sameItems(left.items, right.items);
  if (left instanceof Dict) return right instanceof Dict && sameEntries(left, right);
  if (left instanceof Range && right instanceof Range) {
    const { length } = left;
    return length === right.length &&
      (length === 0 || (left.start === right.start && (length === 1 || left.step === right.step)));
  }
  if (left instanceof View && right instanceof View && left.kind !== "values" && right.kind !== "values") {
    return fail("comparing views of dicts is not supported");
  }
  return false;
}

function sameItems(left: readonly Value[], right: readonly Value[]): boolean {
  return left.length === right.length && left.every((item, index) => equals(item, right[index]));
}

function sameEntries(left: Dict, right: Dict): boolean {
  if (left.size !== right.size) return false;
  for (const [key, value] of left.entries()) {
    const other = right.get(key);
    if (other === undefined || !equals(value, other)) return false;
  }
  return true;
}

/** `left < right` */
export function isLess(left: Value, right: Value): boolean {
  return compare(left, right, "<");
}

/** A comparison of numbers, texts, lists or tuples by `<`, `<=`, `>` or `>=`. */
export function compare(left: Value, right: Value, operator: "<" | "<=" | ">" | ">="): boolean {
  const a = numberOf(left), b = numberOf(right);
  if (a !== undefined && b !== undefined) return holds(operator, a < b ? -1 : a > b ? 1 : a == b ? 0 : NaN);
  const one = textOf(left), other = textOf(right);
  if (one !== undefined && other !== undefined) return holds(operator, compareTexts(one, other));
  if ((isList(left) && isList(right)) || (left instanceof Tuple && right instanceof Tuple)) {
    const first = itemsOf(left)!, second = itemsOf(right)!;
    const at = first.findIndex((item, index) => index >= second.length || !equals(item, second[index]));
    if (at >= 0 && at < second.length) return compare(first[at], second[at], operator);
    return holds(operator, Math.sign(first.length - second.length));
  }
  if (left instanceof Undefined) return left.fail();
  if (right instanceof Undefined) return right.fail();
  return fail(
    `'${operator}' not supported between instances of '${typeName(left)}' and '${typeName(right)}'`,
  );
}

function holds(operator: "<" | "<=" | ">" | ">=", order: number): boolean {
  if (operator === "<") return order < 0;
  if (operator === "<=") return order <= 0;
  return operator === ">" ? order > 0 : order >= 0;
}

/** Order by code points; JavaScript's own is by UTF-16 units. */
function compareTexts(left: string, right: string): number {
  if (left === right) return 0;
  let at = 0;
  while (at < left.length && left[at] === right[at]) at++;
  if (at > 0 && /[\ud800-\udbff]/.test(left[at - 1])) at--;
  const a = left.codePointAt(at) ?? -1, b = right.codePointAt(at) ?? -1;
  return Math.sign(a - b);
}

/** `value in container` */
export function contains(container: Value, value: Value, run: Run): boolean {
  const text = textOf(container);
  if (text !== undefined) {
    const part = textOf(value);
    if (part === undefined) {
      return fail(`'in <string>' requires string as left operand, not ${typeName(value)}`);
    }
    run.spend(text.length);
    return text.includes(part);
  }
  if (container instanceof Dict) return container.has(value);
  if (container instanceof View && container.kind === "keys") return container.dict.has(value);
  for (const item of iterate(container)) {
    run.spend();
    if (equals(item, value)) return true;
  }
  return false;
}

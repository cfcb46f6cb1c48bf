/**
 * Items, indices and slices.
 *
 * @module
 */
import { fail } from "./errors.ts";
import { charsOf } from "./truth.ts";
import {
  Dict,
  intOf,
  isList,
  itemsOf,
  Iter,
  Markup,
  Range,
  textOf,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.ts";

/** The items that a loop sees; nothing for what cannot be gone through. */
export function itemsIn(value: Value): Iterable<Value> | undefined {
  const text = textOf(value);
  if (text !== undefined) return charsOf(text);
  if (isList(value) || value instanceof View) return value;
  if (value instanceof Tuple) return value.items;
  if (value instanceof Dict) return new View("keys", value);
  if (value instanceof Range) return rangeItems(value);
  // Without `return`: leaving a loop must not end what is gone through.
  if (value instanceof Iter) return { [Symbol.iterator]: () => ({ next: () => value.source.next() }) };
  return value instanceof Undefined ? [] : undefined;
}

function* rangeItems(range: Range): Generator<Value> {
  for (let i = 0; i < range.length; i++) yield range.at(i);
}

/** The items that a loop sees. */
export function iterate(value: Value): Iterable<Value> {
  return itemsIn(value) ?? fail(`'${typeName(value)}' object is not iterable`);
}

/** The items from the last to the first. */
export function reversed(value: Value): Value[] {
  const isOrdered = textOf(value) !== undefined || itemsOf(value) !== undefined ||
    value instanceof Dict || value instanceof View || value instanceof Range || value instanceof Undefined;
  return isOrdered ? [...iterate(value)].reverse() : fail(`'${typeName(value)}' object is not reversible`);
}

/** Whether a value can be indexed (`value[0]`): texts, lists, tuples, ranges. */
function isIndexed(value: Value): boolean {
  return textOf(value) !== undefined || itemsOf(value) !== undefined || value instanceof Range;
}

/** `value[key]`; nothing where Python raises LookupError or TypeError. */
export function subscript(value: Value, key: Value): Value | undefined {
  if (value instanceof Undefined) return value.fail();
  if (value instanceof Dict) {
    return isList(key) || key instanceof Dict ? undefined : value.get(key);
  }
  const index = intOf(key);
  if (index === undefined || !isIndexed(value)) return undefined;
  if (value instanceof Range) {
    const at = index < 0n ? index + BigInt(value.length) : index;
    return at >= 0n && at < BigInt(value.length) ? value.at(Number(at)) : undefined;
  }
  const items = itemsOf(value) ?? charsOf(textOf(value)!);
  const at = Number(index < 0n ? index + BigInt(items.length) : index);
  return at >= 0 && at < items.length ? items[at] : undefined;
}

/** Where a slice begins and ends, and its step, within a length. */
function span(bounds: readonly Value[], length: number): { start: number; stop: number; step: number } {
  const [start, stop, step] = bounds.map((bound) => {
    if (bound === null) return undefined;
    if (bound instanceof Undefined) return fail("slice indices must be integers or None");
    const int = intOf(bound) ?? fail("slice indices must be integers or None");
    return Math.max(-(2 ** 52), Math.min(2 ** 52, Number(int)));
  });
  if (step === 0) return fail("slice step cannot be zero");
  const isForward = (step ?? 1) > 0;
  const [low, high] = isForward ? [0, length] : [-1, length - 1];
  const clamp = (index: number): number => index < 0 ? Math.max(index + length, low) : Math.min(index, high);
  return {
    start: start === undefined ? (isForward ? low : high) : clamp(start),
    stop: stop === undefined ? (isForward ? high : low) : clamp(stop),
    step: step ?? 1,
  };
}

function rangeSlice(range: Range, bounds: readonly Value[]): Range {
  const { start, stop, step } = span(bounds, range.length);
  return new Range(range.at(start), range.at(stop), range.step * BigInt(step));
}

/** `value[start:stop:step]`; bounds that are left out are None. */
export function slice(value: Value, bounds: readonly Value[]): Value {
  if (value instanceof Undefined) return value.fail();
  const text = textOf(value);
  if (value instanceof Range) return rangeSlice(value, bounds);
  const items = itemsOf(value) ?? (text === undefined ? undefined : charsOf(text));
  if (!items) return fail(`'${typeName(value)}' object has no slices`);
  const { start, stop, step } = span(bounds, items.length);
  const picked: Value[] = step === 1 ? items.slice(start, Math.max(start, stop)) : [];
  for (let i = start; step !== 1 && (step > 0 ? i < stop : i > stop); i += step) picked.push(items[i]);
  if (text === undefined) return isList(value) ? picked : new Tuple(picked);
  return value instanceof Markup ? new Markup(picked.join("")) : picked.join("");
}

/** Whether a value can be gone through at all; a thing with a length cannot for that alone. */
export function isIterable(value: Value): boolean {
  return itemsIn(value) !== undefined || (value instanceof Thing && value.typeName === "LoopContext");
}

/**
 * Filters of lists and dicts.
 *
 * @module
 */
import { arithmetic } from "./arithmetic.ts";
import { type Bound, type Operation, operation } from "./arguments.ts";
import { follow } from "./attributes.ts";
import { fail } from "./errors.ts";
import { equals, isLess } from "./operators.ts";
import type { Run } from "./run.ts";
import { isIterable, iterate, reversed } from "./sequences.ts";
import { charsOf, lengthOf } from "./truth.ts";
import {
  Dict,
  GroupTuple,
  Iter,
  keyOf,
  Markup,
  orElse,
  textOf,
  Thing,
  type Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.ts";

/** All items, with a step for each. */
function collect(value: Value, run: Run): Value[] {
  run.spendOnParts(textOf(value)?.length);
  const items: Value[] = [];
  for (const item of iterate(value)) {
    run.spend();
    items.push(item);
  }
  return items;
}

/** The key that a value is sorted by. */
type Key = (value: Value) => Value;

const lowered = (value: Value): Value => {
  const text = textOf(value);
  return text === undefined ? value : text.toLowerCase();
};

/** The key of a filter's `case_sensitive` and `attribute`. */
function keyBy(given: Bound, sensitive: number, attribute: number): Key {
  const isSensitive = given.isTrue(sensitive), path = given.value(attribute);
  return (value) => {
    const found = follow(value, path);
    return isSensitive ? found : lowered(found);
  };
}

/** As `sorted`: stable also from the last to the first. */
function sorted(values: readonly Value[], { key, isReversed, run }: {
  key: Key;
  isReversed: boolean;
  run: Run;
}): Value[] {
  const keyed = values.map((value) => ({ value, key: key(value) }));
  if (isReversed) keyed.reverse();
  keyed.sort((a, b) => {
    run.spend();
    return isLess(a.key, b.key) ? -1 : isLess(b.key, a.key) ? 1 : 0;
  });
  if (isReversed) keyed.reverse();
  return keyed.map(({ value }) => value);
}

const sort = operation(
  [["reverse", false], ["case_sensitive", false], ["attribute", null]],
  (value, given, run) => {
    const paths = textOf(given.value(2))?.split(",") ?? [given.value(2)];
    const isSensitive = given.isTrue(1);
    const key: Key = (item) =>
      paths.map((path) => {
        const found = follow(item, path);
        return isSensitive ? found : lowered(found);
      });
    return sorted(collect(value, run), { key, isReversed: given.isTrue(0), run });
  },
);

const dictSort = operation(
  [["case_sensitive", false], ["by", "key"], ["reverse", false]],
  (value, given, run) => {
    const by = given.value(1), isSensitive = given.isTrue(0);
    if (by !== "key" && by !== "value") return fail('You can only sort by either "key" or "value"');
    if (value instanceof Undefined) return value.fail();
    if (!(value instanceof Dict)) return fail(`dictsort of a ${typeName(value)}`);
    const key: Key = (pair) => {
      const part = (pair as Tuple).items[by === "key" ? 0 : 1];
      return isSensitive ? part : lowered(part);
    };
    return sorted(collect(new View("items", value), run), { key, isReversed: given.isTrue(2), run });
  },
);

const extreme = (isBetter: (value: Value, best: Value) => boolean): Operation =>
  operation([["case_sensitive", false], ["attribute", null]], (value, given, run) => {
    const key = keyBy(given, 0, 1);
    const [first, ...rest] = collect(value, run);
    if (first === undefined) return new Undefined("No aggregated item, sequence was empty.");
    let best = first, bestKey = key(first);
    for (const item of rest) {
      const itemKey = key(item);
      if (isBetter(itemKey, bestKey)) [best, bestKey] = [item, itemKey];
    }
    return best;
  });

const groupBy = operation(
  [["attribute"], ["default", null], ["case_sensitive", false]],
  (value, given, run) => {
    const [path, fallback] = [given.value(0), given.value(1)], isSensitive = given.isTrue(2);
    const real: Key = (item) => follow(item, path, fallback);
    const key: Key = (item) => isSensitive ? real(item) : lowered(real(item));
    const groups: { key: Value; items: Value[] }[] = [];
    for (const item of sorted(collect(value, run), { key, isReversed: false, run })) {
      const last = groups.at(-1), itemKey = key(item);
      if (last && equals(last.key, itemKey)) last.items.push(item);
      else groups.push({ key: itemKey, items: [item] });
    }
    return groups.map(({ items }) => new GroupTuple([real(items[0]), items]));
  },
);

/** A filter whose items come one by one as they are asked for. */
function lazy(items: (value: Value, given: Bound, run: Run) => Generator<Value>) {
  return (value: Value, given: Bound, run: Run): Value => new Iter("generator", items(value, given, run));
}

function* uniqueItems(value: Value, given: Bound, run: Run): Generator<Value> {
  const key = keyBy(given, 0, 1), seen = new Set<string>();
  for (const item of iterate(value)) {
    run.spend();
    const found = keyOf(key(item));
    if (!seen.has(found)) yield item;
    seen.add(found);
  }
}

function* batches(value: Value, given: Bound, run: Run): Generator<Value> {
  const size = given.int(0), fill = given.value(1);
  let batch: Value[] = [];
  for (const item of iterate(value)) {
    run.spend();
    if (batch.length === size) {
      yield batch;
      batch = [];
    }
    batch.push(item);
  }
  if (batch.length === 0) return;
  run.grow(Math.max(0, size));
  while (fill !== null && batch.length < size) batch.push(fill);
  yield batch;
}

function* slices(value: Value, given: Bound, run: Run): Generator<Value> {
  const items = collect(value, run), count = given.int(0), fill = given.value(1);
  if (count === 0) fail("integer division or modulo by zero");
  const size = Math.floor(items.length / count), longer = items.length - size * count;
  for (let i = 0, at = 0; i < count; i++) {
    run.spend();
    const end = at + size + (i < longer ? 1 : 0);
    const part = items.slice(at, end);
    if (fill !== null && i >= longer) part.push(fill);
    yield part;
    at = end;
  }
}

function* pairs(value: Value): Generator<Value> {
  if (value instanceof Undefined) return;
  if (!(value instanceof Dict)) return fail("Can only get item pairs from a mapping.");
  yield* new View("items", value);
}

const length = operation([], (value) => {
  const count = lengthOf(value);
  return count === undefined ? fail(`object of type '${typeName(value)}' has no len()`) : BigInt(count);
});

const reverse = operation([], (value, _given, run) => {
  if (value instanceof Markup) return new Markup(charsOf(value.text).toReversed().join(""));
  if (typeof value === "string") return charsOf(value).toReversed().join("");
  if (value instanceof Iter) return collect(value, run).reverse();
  if (!isIterable(value) || value instanceof Thing) return fail("argument must be iterable");
  return new Iter("list_reverseiterator", reversed(value)[Symbol.iterator]());
});

const sum = operation([["attribute", null], ["start", 0n]], (value, given, run) => {
  let total = given.value(1);
  if (textOf(total) !== undefined) return fail("sum() can't sum strings [use ''.join(seq) instead]");
  for (const item of iterate(value)) total = arithmetic["+"](total, follow(item, given.value(0)), run);
  return total;
});

/** The filters by name. */
export const listFilters: Readonly<Record<string, Operation>> = {
  batch: operation([["linecount"], ["fill_with", null]], lazy(batches)),
  count: length,
  dictsort: dictSort,
  first: operation([], (value) => {
    for (const item of iterate(value)) return item;
    return new Undefined("No first item, sequence was empty.");
  }),
  groupby: groupBy,
  items: operation([], lazy(pairs)),
  last: operation(
    [],
    (value) => orElse(reversed(value)[0], () => new Undefined("No last item, sequence was empty.")),
  ),
  length,
  list: operation([], (value, _given, run) => collect(value, run)),
  max: extreme((value, best) => isLess(best, value)),
  min: extreme((value, best) => isLess(value, best)),
  reverse,
  slice: operation([["slices"], ["fill_with", null]], lazy(slices)),
  sort,
  sum,
  unique: operation([["case_sensitive", false], ["attribute", null]], lazy(uniqueItems)),
};

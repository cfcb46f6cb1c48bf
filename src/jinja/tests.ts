/**
 * The tests that may stand after `is`.
 *
 * @module
 */
import { arithmetic } from "./arithmetic.ts";
import { type Operation, operation, type Parameters } from "./arguments.ts";
import { fail } from "./errors.ts";
import { characterTests } from "./letters.ts";
import { compare, contains, equals, numberOf } from "./operators.ts";
import { str } from "./print.ts";
import type { Run } from "./run.ts";
import { isIterable } from "./sequences.ts";
import { lengthOf } from "./truth.ts";
import { Dict, Iter, Markup, textOf, Thing, typeName, Undefined, type Value, View } from "./values.ts";

const test = (holds: (value: Value, run: Run) => boolean): Operation =>
  operation([], (value, _given, run) => holds(value, run));

const other: Parameters = [["other"]];

const ordering = (operator: "<" | "<=" | ">" | ">="): Operation =>
  operation(other, (value, given) => compare(value, given.value(0), operator));

const equal = operation(other, (value, given) => equals(value, given.value(0)));
const unequal = operation(other, (value, given) => !equals(value, given.value(0)));

function leaves(rest: bigint): Operation {
  return test((value, run) => equals(arithmetic["%"](value, 2n, run), rest));
}

const divisible = operation([["num"]], (value, given, run) => {
  return equals(arithmetic["%"](value, given.value(0), run), 0n);
});

const sameAs = operation(other, (value, given) => {
  const right = given.value(0);
  // Python keeps one copy of each of these; of other numbers and texts it may have several.
  const isUnique = (one: Value): boolean =>
    one === null || typeof one === "boolean" || (typeof one === "object" && !(one instanceof Undefined)) ||
    (typeof one === "bigint" && one >= -5n && one <= 256n);
  if (typeName(value) !== typeName(right)) return false;
  return isUnique(value) && isUnique(right)
    ? value === right
    : fail(`sameas of a ${typeName(value)} is not supported`);
});

function isSequence(value: Value): boolean {
  const isCounted = lengthOf(value) !== undefined;
  return isCounted && !(value instanceof View) && !(value instanceof Thing) && !(value instanceof Iter);
}

/** The tests by name. Those that ask which filters and tests there are stand elsewhere. */
const plainTests: Readonly<Record<string, Operation>> = {
  odd: leaves(1n),
  even: leaves(0n),
  divisibleby: divisible,
  defined: test((value) => !(value instanceof Undefined)),
  undefined: test((value) => value instanceof Undefined),
  none: test((value) => value === null),
  boolean: test((value) => typeof value === "boolean"),
  false: test((value) => value === false),
  true: test((value) => value === true),
  integer: test((value) => typeof value === "bigint"),
  float: test((value) => typeof value === "number"),
  lower: test((value) => characterTests.islower(str(value))),
  upper: test((value) => characterTests.isupper(str(value))),
  string: test((value) => textOf(value) !== undefined),
  mapping: test((value) => value instanceof Dict),
  number: test((value) => numberOf(value) !== undefined),
  sequence: test(isSequence),
  iterable: test(isIterable),
  callable: test((value) =>
    value instanceof Undefined || (value instanceof Thing && value.call !== undefined)
  ),
  sameas: sameAs,
  escaped: test((value) => value instanceof Markup),
  in: operation([["seq"]], (value, given, run) => contains(given.value(0), value, run)),
  "==": equal,
  eq: equal,
  equalto: equal,
  "!=": unequal,
  ne: unequal,
  ">": ordering(">"),
  gt: ordering(">"),
  greaterthan: ordering(">"),
  ge: ordering(">="),
  ">=": ordering(">="),
  "<": ordering("<"),
  lt: ordering("<"),
  lessthan: ordering("<"),
  "<=": ordering("<="),
  le: ordering("<="),
};

const isNamed = (kind: "filters" | "tests"): Operation =>
  test((value, run) =>
    run.library[kind].has(textOf(value) ?? fail("the name of a filter or a test must be a text"))
  );

/** The tests by name. */
export const tests: ReadonlyMap<string, Operation> = new Map(Object.entries({
  ...plainTests,
  filter: isNamed("filters"),
  test: isNamed("tests"),
}));

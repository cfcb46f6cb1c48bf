/**
 * Values of expressions.
 *
 * @module
 */
import { arithmetic } from "./arithmetic.ts";
import type { Operation } from "./arguments.ts";
import { getAttribute, getItem } from "./attributes.ts";
import { fail } from "./errors.ts";
import type { Frame } from "./frame.ts";
import type { Arguments, Expression } from "./nodes.ts";
import { compare, contains, equals, numberOf } from "./operators.ts";
import { str } from "./print.ts";
import type { Run } from "./run.ts";
import { iterate, slice } from "./sequences.ts";
import { isTrue } from "./truth.ts";
import {
  type CallArguments,
  Dict,
  itemsOf,
  orElse,
  textOf,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

type Kinds = { readonly [Kind in Expression["kind"]]: Expression & { readonly kind: Kind } };
type Handlers = { readonly [Kind in keyof Kinds]: (node: Kinds[Kind], frame: Frame, run: Run) => Value };

/** The value of an expression. */
export function evaluate(node: Expression, frame: Frame, run: Run): Value {
  run.spend();
  return (handlers[node.kind] as (node: Expression, frame: Frame, run: Run) => Value)(node, frame, run);
}

function all(nodes: readonly Expression[], frame: Frame, run: Run): Value[] {
  return nodes.map((node) => evaluate(node, frame, run));
}

/** The values of written arguments. */
export function evaluateArguments(given: Arguments, frame: Frame, run: Run): CallArguments {
  const args = all(given.args, frame, run);
  const kwargs = new Map(given.kwargs.map(([name, value]) => [name, evaluate(value, frame, run)]));
  if (given.spread) args.push(...iterate(evaluate(given.spread, frame, run)));
  if (given.spreadKeywords) {
    const named = evaluate(given.spreadKeywords, frame, run);
    if (!(named instanceof Dict)) return fail(`argument after ** must be a mapping, not ${typeName(named)}`);
    for (const [key, value] of named.entries()) {
      const name = textOf(key) ?? fail("keywords must be strings");
      if (kwargs.has(name)) fail(`got multiple values for keyword argument '${name}'`);
      kwargs.set(name, value);
    }
  }
  return { args, kwargs };
}

/** The result of calling a value. */
export function call(callee: Value, given: CallArguments, run: Run): Value {
  if (callee instanceof Undefined) return callee.fail();
  if (callee instanceof Thing && callee.call) return callee.call(given, run);
  return fail(`'${typeName(callee)}' object is not callable`);
}

function operationOf(kind: "filters" | "tests", name: string, run: Run): Operation {
  return run.library[kind].get(name) ?? fail(`No ${kind.slice(0, -1)} named '${name}' found.`);
}

function negated(value: Value, operator: "-" | "+"): Value {
  const number = numberOf(value);
  if (number !== undefined) return operator === "-" ? -number : number;
  return value instanceof Undefined
    ? value.fail()
    : fail(`bad operand type for unary ${operator}: '${typeName(value)}'`);
}

function compares(left: Value, operator: string, { right, run }: { right: Value; run: Run }): boolean {
  run.spendOnParts(itemsOf(left)?.length);
  if (operator === "==") return equals(left, right);
  if (operator === "!=") return !equals(left, right);
  if (operator === "in") return contains(right, left, run);
  if (operator === "not in") return !contains(right, left, run);
  return compare(left, right, operator as "<");
}

const handlers: Handlers = {
  const: ({ value }) => value,
  name: ({ name }, frame) => orElse(frame.get(name), () => new Undefined(`'${name}' is undefined`)),
  list: ({ items }, frame, run) => all(items, frame, run),
  tuple: ({ items }, frame, run) => new Tuple(all(items, frame, run)),
  dict: ({ pairs }, frame, run) =>
    new Dict(pairs.map(([key, value]) => [evaluate(key, frame, run), evaluate(value, frame, run)] as const)),
  attribute: ({ of, name }, frame, run) => getAttribute(evaluate(of, frame, run), name),
  item(node, frame, run) {
    const of = evaluate(node.of, frame, run);
    const text = textOf(of);
    if (text !== undefined) run.spend(text.length);
    return getItem(of, evaluate(node.index, frame, run));
  },
  slice({ of, bounds }, frame, run) {
    const value = evaluate(of, frame, run);
    run.spend(textOf(value)?.length);
    return slice(value, bounds.map((bound) => bound ? evaluate(bound, frame, run) : null));
  },
  call({ of, given }, frame, run) {
    const callee = evaluate(of, frame, run);
    return call(callee, evaluateArguments(given, frame, run), run);
  },
  filter({ of, name, given }, frame, run) {
    const operation = operationOf("filters", name, run);
    const value = evaluate(of!, frame, run);
    run.spend(textOf(value)?.length);
    return operation(value, evaluateArguments(given, frame, run), run);
  },
  test({ of, name, given }, frame, run) {
    const operation = operationOf("tests", name, run);
    const value = evaluate(of, frame, run);
    return operation(value, evaluateArguments(given, frame, run), run);
  },
  unary({ operator, of }, frame, run) {
    const value = evaluate(of, frame, run);
    return operator === "not" ? !isTrue(value) : negated(value, operator);
  },
  binary({ operator, left, right }, frame, run) {
    const first = evaluate(left, frame, run);
    return arithmetic[operator](first, evaluate(right, frame, run), run);
  },
  and({ left, right }, frame, run) {
    const first = evaluate(left, frame, run);
    return isTrue(first) ? evaluate(right, frame, run) : first;
  },
  or({ left, right }, frame, run) {
    const first = evaluate(left, frame, run);
    return isTrue(first) ? first : evaluate(right, frame, run);
  },
  compare({ first, rest }, frame, run) {
    let left = evaluate(first, frame, run);
    for (const [operator, node] of rest) {
      const right = evaluate(node, frame, run);
      if (!compares(left, operator, { right, run })) return false;
      left = right;
    }
    return true;
  },
  concat: ({ parts }, frame, run) => run.join(all(parts, frame, run).map(str), ""),
  condition({ test, then, otherwise }, frame, run) {
    if (isTrue(evaluate(test, frame, run))) return evaluate(then, frame, run);
    if (otherwise) return evaluate(otherwise, frame, run);
    return new Undefined("the inline if-expression evaluated to false and no else section was defined.");
  },
};

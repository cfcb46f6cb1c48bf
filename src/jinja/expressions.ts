/**
 * Tokens to expressions, with Jinja2's precedences.
 *
 * @module
 */
import { listed, parseArguments, parseSubscript } from "./brackets.ts";
import type { Arguments, Expression, FilterExpression } from "./nodes.ts";
import { describe, type TokenStream } from "./stream.ts";

/** How a tuple without brackets ends, and what may be in it. */
interface TupleRules {
  /** Default true. */
  readonly withConditions?: boolean;
  /** A name that ends it. */
  readonly until?: string;
  /** Whether `()` is one. */
  readonly isBracketed?: boolean;
}

/** An expression; without `withConditions` (default true) an `if` after it is not part of it. */
export function parseExpression(stream: TokenStream, withConditions = true): Expression {
  return stream.nested(() => withConditions ? parseCondition(stream) : parseOr(stream));
}

/** An expression, or several with commas between them, which are a tuple. */
export function parseTuple(stream: TokenStream, rules: TupleRules = {}): Expression {
  const { withConditions = true, until, isBracketed = false } = rules;
  const items: Expression[] = [];
  let isTuple = false;
  for (;;) {
    if (items.length > 0) stream.expect(",");
    if (stream.is("}}", "%}", ")") || (until !== undefined && stream.isName(until))) break;
    items.push(parseExpression(stream, withConditions));
    if (!stream.is(",")) break;
    isTuple = true;
  }
  if (isTuple) return { kind: "tuple", items };
  if (items.length > 0) return items[0];
  if (isBracketed) return { kind: "tuple", items };
  throw stream.error(`expected an expression, got ${describe(stream.current)}`);
}

function parseCondition(stream: TokenStream): Expression {
  let result = parseOr(stream);
  while (stream.skipName("if")) {
    const test = parseOr(stream);
    const otherwise = stream.skipName("else") ? stream.nested(() => parseCondition(stream)) : undefined;
    result = { kind: "condition", test, then: result, otherwise };
  }
  return result;
}

function parseOr(stream: TokenStream): Expression {
  let left = parseAnd(stream);
  while (stream.skipName("or")) left = { kind: "or", operator: "or", left, right: parseAnd(stream) };
  return left;
}

function parseAnd(stream: TokenStream): Expression {
  let left = parseNot(stream);
  while (stream.skipName("and")) left = { kind: "and", operator: "and", left, right: parseNot(stream) };
  return left;
}

function parseNot(stream: TokenStream): Expression {
  if (!stream.skipName("not")) return parseCompare(stream);
  return { kind: "unary", operator: "not", of: stream.nested(() => parseNot(stream)) };
}

const comparisons = ["==", "!=", "<", "<=", ">", ">="];

function parseCompare(stream: TokenStream): Expression {
  const first = parseSum(stream);
  const rest: (readonly [string, Expression])[] = [];
  for (;;) {
    if (stream.is(...comparisons)) {
      const operator = stream.take().text;
      rest.push([operator, parseSum(stream)]);
    } else if (stream.skipName("in")) rest.push(["in", parseSum(stream)]);
    else if (stream.isName("not") && stream.following.type === "name" && stream.following.text === "in") {
      stream.take();
      stream.take();
      rest.push(["not in", parseSum(stream)]);
    } else break;
  }
  return rest.length === 0 ? first : { kind: "compare", first, rest };
}

/** Operators of one precedence, from left to right. */
function binary(
  operators: readonly string[],
  parse: (stream: TokenStream) => Expression,
): (stream: TokenStream) => Expression {
  return (stream) => {
    let left = parse(stream);
    while (stream.is(...operators)) {
      const operator = stream.take().text;
      left = { kind: "binary", operator, left, right: parse(stream) };
    }
    return left;
  };
}

const parsePower = binary(["**"], (stream) => parseUnary(stream));
const parseProduct = binary(["*", "/", "//", "%"], parsePower);
const parseSum = binary(["+", "-"], parseConcat);

function parseConcat(stream: TokenStream): Expression {
  const parts = [parseProduct(stream)];
  while (stream.skip("~")) parts.push(parseProduct(stream));
  return parts.length === 1 ? parts[0] : { kind: "concat", parts };
}

function parseUnary(stream: TokenStream, withFilters = true): Expression {
  let result: Expression;
  if (stream.is("-", "+")) {
    const operator = stream.take().text as "-" | "+";
    result = { kind: "unary", operator, of: stream.nested(() => parseUnary(stream, false)) };
  } else result = parsePrimary(stream);
  result = parsePostfix(stream, result);
  return withFilters ? parseFilters(stream, result) : result;
}

const constants: Readonly<Record<string, boolean | null>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
};

/** A name, a literal, or an expression in brackets. */
export function parsePrimary(stream: TokenStream): Expression {
  const { type, text } = stream.current;
  if (type === "name") {
    stream.take();
    return Object.hasOwn(constants, text)
      ? { kind: "const", value: constants[text] }
      : { kind: "name", name: text };
  }
  if (type === "string") {
    let value = "";
    while (stream.is("string")) value += stream.take().text;
    return { kind: "const", value };
  }
  if (type === "integer") {
    if (text.length > 4300) throw stream.error("a whole number of more than 4300 digits");
    return { kind: "const", value: BigInt(stream.take().text.replaceAll("_", "")) };
  }
  if (type === "float") return { kind: "const", value: Number(stream.take().text.replaceAll("_", "")) };
  if (type === "(") {
    stream.take();
    const inner = stream.nested(() => parseTuple(stream, { isBracketed: true }));
    stream.expect(")");
    return inner;
  }
  if (type === "[") return parseList(stream);
  if (type === "{") return parseDict(stream);
  throw stream.error(`unexpected ${describe(stream.current)}`);
}

function parseList(stream: TokenStream): Expression {
  return { kind: "list", items: listed(stream, "]", () => parseExpression(stream)) };
}

function parseDict(stream: TokenStream): Expression {
  const pairs = listed(stream, "}", () => {
    const key = parseExpression(stream);
    stream.expect(":");
    return [key, parseExpression(stream)] as const;
  });
  return { kind: "dict", pairs };
}

function parsePostfix(stream: TokenStream, of: Expression): Expression {
  let result = of;
  for (;;) {
    if (stream.is(".")) result = parseDot(stream, result);
    else if (stream.is("[")) result = parseSubscript(stream, result, parseExpression);
    else if (stream.is("(")) {
      result = { kind: "call", of: result, given: parseArguments(stream, parseExpression) };
    } else return result;
  }
}

/** Filters, tests and calls after an expression. */
function parseFilters(stream: TokenStream, of: Expression): Expression {
  let result = of;
  for (;;) {
    if (stream.skip("|")) result = parseFilter(stream, result);
    else if (stream.skipName("is")) result = parseTest(stream, result);
    else if (stream.is("(")) {
      result = { kind: "call", of: result, given: parseArguments(stream, parseExpression) };
    } else return result;
  }
}

function parseDot(stream: TokenStream, of: Expression): Expression {
  stream.take();
  const { type, text } = stream.take();
  if (type === "name") return { kind: "attribute", of, name: text };
  if (type !== "integer") throw stream.error("expected name or number after a dot");
  return { kind: "item", of, index: { kind: "const", value: BigInt(text.replaceAll("_", "")) } };
}

const none: Arguments = { args: [], kwargs: [] };

function dottedName(stream: TokenStream): string {
  let name = stream.expect("name").text;
  while (stream.skip(".")) name += `.${stream.expect("name").text}`;
  return name;
}

/** A filter's name and arguments, after its bar. */
export function parseFilter(stream: TokenStream, of?: Expression): FilterExpression {
  const name = dottedName(stream);
  return { kind: "filter", of, name, given: stream.is("(") ? parseArguments(stream, parseExpression) : none };
}

/** A test's name and arguments, after its `is`; one argument may go without brackets. */
function parseTest(stream: TokenStream, of: Expression): Expression {
  const isNegated = stream.skipName("not");
  const name = dottedName(stream);
  let given = none;
  if (stream.is("(")) given = parseArguments(stream, parseExpression);
  else if (
    stream.is("name", "string", "integer", "float", "[", "{") && !stream.isName("else", "or", "and")
  ) {
    if (stream.isName("is")) throw stream.error("You cannot chain multiple tests with is");
    given = { args: [parsePostfix(stream, parsePrimary(stream))], kwargs: [] };
  }
  const test: Expression = { kind: "test", of, name, given };
  return isNegated ? { kind: "unary", operator: "not", of: test } : test;
}

/**
 * The statements of a template.
 *
 * @module
 */
import { parseExpression, parseFilter, parsePrimary, parseTuple } from "./expressions.ts";
import type { Body, Expression, FilterExpression, MacroBody, Parameter, Statement, Target } from "./nodes.ts";
import { describe, TokenStream } from "./stream.ts";

/**
 * Parses a template.
 *
 * @throws TemplateError with the line.
 */
export function parse(source: string): Body {
  const stream = new TokenStream(source);
  return parseBody(stream, [], { inLoop: false });
}

/** Where a statement stands: `break` and `continue` need a loop that no macro parts them from. */
interface Place {
  readonly inLoop: boolean;
}

const inMacro: Place = { inLoop: false };

function parseBody(stream: TokenStream, ends: readonly string[], place: Place): Body {
  const body: Statement[] = [];
  let parts: (string | Expression)[] = [];
  const flush = (): void => {
    if (parts.length > 0) body.push({ kind: "output", parts });
    parts = [];
  };
  while (!stream.is("eof")) {
    if (stream.is("data")) parts.push(stream.take().text);
    else if (stream.skip("{{")) {
      parts.push(parseTuple(stream));
      stream.expect("}}");
    } else {
      flush();
      stream.expect("{%");
      if (stream.isName(...ends)) return body;
      body.push(stream.nested(() => parseStatement(stream, place)));
      stream.expect("%}");
    }
  }
  flush();
  if (ends.length === 0) return body;
  throw stream.error(`Unexpected end of template: looking for ${ends.join(" or ")}`);
}

/** The statements of a block up to one of its end tags, which is the current token then. */
function parseBlock(stream: TokenStream, ends: readonly string[], place: Place): Body {
  stream.skip(":");
  stream.expect("%}");
  return parseBody(stream, ends, place);
}

/** As {@linkcode parseBlock}, with the end tag passed. */
function closedBlock(stream: TokenStream, end: string, place: Place): Body {
  const body = parseBlock(stream, [end], place);
  stream.take();
  return body;
}

type Parse = (stream: TokenStream, place: Place) => Statement;

const statements: Readonly<Record<string, Parse>> = {
  for: parseFor,
  if: parseIf,
  set: parseSet,
  macro(stream) {
    const name = parseName(stream);
    return { kind: "macro", macro: parseMacro(stream, { name, end: "endmacro" }) };
  },
  call: parseCall,
  generation: (stream) => ({
    kind: "generation",
    caller: { name: null, parameters: [], body: closedBlock(stream, "endgeneration", inMacro) },
  }),
  filter(stream, place) {
    const filter = parseFilterChain(stream, parseFilter(stream));
    return { kind: "filter", filter, body: closedBlock(stream, "endfilter", place) };
  },
  with: parseWith,
  print(stream) {
    const parts: Expression[] = [];
    while (!stream.is("%}")) {
      if (parts.length > 0) stream.expect(",");
      parts.push(parseExpression(stream));
    }
    return { kind: "output", parts };
  },
  break: (stream, place) => parseJump(stream, { kind: "break", place }),
  continue: (stream, place) => parseJump(stream, { kind: "continue", place }),
};

/** Jinja2's tags that a chat template cannot use: it has no other template beside it, and no HTML. */
const unsupported = ["block", "extends", "include", "import", "from", "autoescape"];

function parseStatement(stream: TokenStream, place: Place): Statement {
  const { type, text } = stream.current;
  if (type !== "name") throw stream.error("tag name expected");
  if (unsupported.includes(text)) throw stream.error(`the tag "${text}" is not supported`);
  if (!Object.hasOwn(statements, text)) throw stream.error(`Encountered unknown tag "${text}"`);
  stream.take();
  return statements[text](stream, place);
}

function parseJump(
  stream: TokenStream,
  { kind, place }: { kind: "break" | "continue"; place: Place },
): Statement {
  if (!place.inLoop) throw stream.error(`"${kind}" outside of a loop`);
  return { kind };
}

function parseFor(stream: TokenStream, place: Place): Statement {
  const target = parseTarget(stream, { until: "in" });
  stream.expectName("in");
  const over = parseTuple(stream, { withConditions: false, until: "recursive" });
  const test = stream.skipName("if") ? parseExpression(stream) : undefined;
  const isRecursive = stream.skipName("recursive");
  const body = parseBlock(stream, ["endfor", "else"], { inLoop: true });
  // The body of a recursive loop is a function: an outer loop cannot be left from what follows it.
  const after = isRecursive ? inMacro : place;
  const otherwise = stream.take().text === "else" ? closedBlock(stream, "endfor", after) : [];
  return { kind: "for", target, over, test, isRecursive, body, otherwise };
}

function parseIf(stream: TokenStream, place: Place): Statement {
  const branches: { test: Expression; body: Body }[] = [];
  for (;;) {
    const test = parseTuple(stream, { withConditions: false });
    branches.push({ test, body: parseBlock(stream, ["elif", "else", "endif"], place) });
    const next = stream.take().text;
    if (next === "elif") continue;
    const otherwise = next === "else" ? closedBlock(stream, "endif", place) : [];
    return { kind: "if", branches, otherwise };
  }
}

function parseSet(stream: TokenStream, place: Place): Statement {
  const target = parseTarget(stream, { withFields: true });
  if (stream.skip("=")) return { kind: "set", target, value: parseTuple(stream) };
  const filter = stream.skip("|") ? parseFilterChain(stream, parseFilter(stream)) : undefined;
  return { kind: "setBlock", target, filter, body: closedBlock(stream, "endset", place) };
}

function parseFilterChain(stream: TokenStream, first: FilterExpression): FilterExpression {
  let filter = first;
  while (stream.skip("|")) filter = parseFilter(stream, filter);
  return filter;
}

function parseWith(stream: TokenStream, place: Place): Statement {
  const pairs: (readonly [Target, Expression])[] = [];
  while (!stream.is("%}")) {
    if (pairs.length > 0) stream.expect(",");
    const target = parseTarget(stream);
    stream.expect("=");
    pairs.push([target, parseExpression(stream)]);
  }
  return { kind: "with", pairs, body: closedBlock(stream, "endwith", place) };
}

function parseCall(stream: TokenStream): Statement {
  const parameters = stream.is("(") ? parseParameters(stream) : [];
  const call = parseExpression(stream);
  if (call.kind !== "call") throw stream.error("expected call");
  return {
    kind: "call",
    call,
    caller: { name: null, parameters, body: closedBlock(stream, "endcall", inMacro) },
  };
}

function parseMacro(stream: TokenStream, { name, end }: { name: string; end: string }): MacroBody {
  const parameters = parseParameters(stream);
  return { name, parameters, body: closedBlock(stream, end, inMacro) };
}

function parseParameters(stream: TokenStream): Parameter[] {
  const parameters: Parameter[] = [];
  stream.expect("(");
  while (!stream.is(")")) {
    if (parameters.length > 0) stream.expect(",");
    const name = parseName(stream);
    if (parameters.some((known) => known.name === name)) throw stream.error(`"${name}" is a parameter twice`);
    if (stream.skip("=")) parameters.push({ name, default: parseExpression(stream) });
    else if (parameters.some((known) => known.default)) {
      throw stream.error("non-default argument follows default argument");
    } else parameters.push({ name });
  }
  stream.expect(")");
  return parameters;
}

const constant = /^(?:true|false|none|True|False|None)$/;

function parseName(stream: TokenStream): string {
  const { text } = stream.expect("name");
  if (constant.test(text)) throw stream.error(`can't assign to "${text}"`);
  return text;
}

function parseTarget(
  stream: TokenStream,
  { until, withFields = false }: { until?: string; withFields?: boolean } = {},
): Target {
  const items: Target[] = [];
  let isTuple = false;
  for (;;) {
    if (items.length > 0) stream.expect(",");
    if (stream.is("}}", "%}", ")") || (until !== undefined && stream.isName(until))) break;
    items.push(parseOneTarget(stream, withFields));
    if (!stream.is(",")) break;
    isTuple = true;
  }
  if (isTuple) return { kind: "tuple", items };
  if (items.length === 1) return items[0];
  throw stream.error(`expected a name, got ${describe(stream.current)}`);
}

function parseOneTarget(stream: TokenStream, withFields: boolean): Target {
  if (withFields && stream.is("name") && stream.following.type === ".") {
    const namespace = parseName(stream);
    stream.take();
    return { kind: "field", namespace, name: stream.expect("name").text };
  }
  return targetOf(stream, parsePrimary(stream));
}

function targetOf(stream: TokenStream, expression: Expression): Target {
  if (expression.kind === "name") return expression;
  if (expression.kind === "tuple") {
    return { kind: "tuple", items: expression.items.map((item) => targetOf(stream, item)) };
  }
  throw stream.error(`can't assign to this: a ${expression.kind}`);
}

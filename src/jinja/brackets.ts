/**
 * Parses the contents of brackets: items, indices, slices and arguments.
 *
 * @module
 */
import type { Arguments, Expression } from "./nodes.ts";
import type { TokenStream } from "./stream.ts";

/** How an expression is parsed. */
type Parse = (stream: TokenStream) => Expression;

/** Entries between brackets, separated by commas; a comma may follow the last. */
export function listed<T>(stream: TokenStream, close: string, parse: () => T): T[] {
  const items: T[] = [];
  stream.take();
  while (!stream.is(close)) {
    if (items.length > 0) stream.expect(",");
    if (stream.is(close)) break;
    items.push(parse());
  }
  stream.expect(close);
  return items;
}

/** An index or a slice. */
export function parseSubscript(stream: TokenStream, of: Expression, parse: Parse): Expression {
  const parts: Expression[] = [];
  let slice: (Expression | undefined)[] | undefined;
  stream.take();
  while (!stream.is("]")) {
    if (parts.length > 0 || slice) stream.expect(",");
    const start = stream.is(":") ? undefined : parse(stream);
    if (!stream.is(":")) {
      if (start) parts.push(start);
    } else if (parts.length > 0 || slice) throw stream.error("a slice beside another index is not supported");
    else slice = parseBounds(stream, start, parse);
  }
  stream.expect("]");
  if (slice && parts.length > 0) throw stream.error("a slice beside another index is not supported");
  if (slice) return { kind: "slice", of, bounds: slice };
  return { kind: "item", of, index: parts.length === 1 ? parts[0] : { kind: "tuple", items: parts } };
}

function parseBounds(
  stream: TokenStream,
  start: Expression | undefined,
  parse: Parse,
): (Expression | undefined)[] {
  const bounds: (Expression | undefined)[] = [start];
  while (bounds.length < 3 && stream.skip(":")) {
    bounds.push(stream.is(":", "]", ",") ? undefined : parse(stream));
  }
  return bounds;
}

/** Arguments in brackets. */
export function parseArguments(stream: TokenStream, parse: Parse): Arguments {
  const args: Expression[] = [], kwargs: (readonly [string, Expression])[] = [];
  let spread: Expression | undefined, spreadKeywords: Expression | undefined;
  const ensure = (isRight: boolean): void => {
    if (!isRight) throw stream.error("invalid syntax for function call expression");
  };
  let isFirst = true;
  stream.expect("(");
  while (!stream.is(")")) {
    if (!isFirst) stream.expect(",");
    if (stream.is(")")) break;
    isFirst = false;
    if (stream.skip("*")) {
      ensure(!spread && !spreadKeywords);
      spread = parse(stream);
    } else if (stream.skip("**")) {
      ensure(!spreadKeywords);
      spreadKeywords = parse(stream);
    } else if (stream.is("name") && stream.following.type === "=") {
      const name = stream.take().text;
      stream.take();
      ensure(!spreadKeywords && !kwargs.some(([known]) => known === name));
      kwargs.push([name, parse(stream)]);
    } else {
      ensure(!spread && !spreadKeywords && kwargs.length === 0);
      args.push(parse(stream));
    }
  }
  stream.expect(")");
  return { args, kwargs, spread, spreadKeywords };
}

/**
 * Walks through the whole of a template's syntax.
 *
 * @module
 */
import { fail } from "./errors.ts";
import type { Arguments, Body, Expression, ForLoop, MacroBody, Statement, Target } from "./nodes.ts";

/** Every expression that stands in another one itself. */
export function partsOf(expression: Expression): readonly (Expression | undefined)[] {
  switch (expression.kind) {
    case "const":
    case "name":
      return [];
    case "list":
    case "tuple":
      return expression.items;
    case "dict":
      return expression.pairs.flat();
    case "attribute":
      return [expression.of];
    case "item":
      return [expression.of, expression.index];
    case "slice":
      return [expression.of, ...expression.bounds];
    case "call":
    case "filter":
    case "test":
      return [expression.of, ...argumentsOf(expression.given)];
    case "unary":
      return [expression.of];
    case "binary":
    case "and":
    case "or":
      return [expression.left, expression.right];
    case "compare":
      return [expression.first, ...expression.rest.map(([, part]) => part)];
    case "concat":
      return expression.parts;
    case "condition":
      return [expression.test, expression.then, expression.otherwise];
  }
}

function argumentsOf({ args, kwargs, spread, spreadKeywords }: Arguments): (Expression | undefined)[] {
  return [...args, ...kwargs.map(([, value]) => value), spread, spreadKeywords];
}

/** A body within a statement, or an expression of it, or names that it sets, in the order of Jinja2's own walk. */
type Part = { readonly body: Body } | { readonly expression: Expression | undefined } | {
  readonly sets: string;
};

function expressions(list: readonly (Expression | undefined)[]): Part[] {
  return list.map((expression) => ({ expression }));
}

function sets(target: Target): Part[] {
  return targetNames(target).map((name) => ({ sets: name }));
}

function macroParts({ parameters, body }: MacroBody): Part[] {
  return [
    ...parameters.map(({ name }) => ({ sets: name })),
    ...expressions(parameters.map((parameter) => parameter.default)),
    { body },
  ];
}

function statementParts(statement: Statement): readonly Part[] {
  switch (statement.kind) {
    case "output":
      return expressions(statement.parts.filter((part) => typeof part !== "string"));
    case "for": {
      const { target, over, body, otherwise, test } = statement;
      return [...sets(target), { expression: over }, { body }, { body: otherwise }, { expression: test }];
    }
    case "if":
      return [
        ...statement.branches.flatMap(({ test, body }) => [{ expression: test }, { body }]),
        { body: statement.otherwise },
      ];
    case "macro":
      return macroParts(statement.macro);
    case "call":
      return [{ expression: statement.call }, ...macroParts(statement.caller)];
    case "generation":
      return macroParts(statement.caller);
    case "filter":
      return [{ body: statement.body }, { expression: statement.filter }];
    case "with":
      return [
        ...statement.pairs.flatMap(([target]) => sets(target)),
        ...expressions(statement.pairs.map(([, value]) => value)),
        { body: statement.body },
      ];
    case "set":
      return [...sets(statement.target), { expression: statement.value }];
    case "setBlock":
      return [...sets(statement.target), { expression: statement.filter }, { body: statement.body }];
    default:
      return [];
  }
}

/** Which of the names a body reads before it sets them, macros in it included. */
export function undeclared(body: Body, names: readonly string[]): ReadonlySet<string> {
  const wanted = new Set(names), found = new Set<string>();
  const visit = (expression: Expression | undefined): void => {
    if (expression?.kind === "name" && wanted.has(expression.name)) found.add(expression.name);
    if (expression) partsOf(expression).forEach(visit);
  };
  const walk = (inner: Body): void => {
    for (const part of inner.flatMap(statementParts)) {
      if ("body" in part) walk(part.body);
      else if ("sets" in part) wanted.delete(part.sets);
      else visit(part.expression);
    }
  };
  walk(body);
  return found;
}

function everyStatement(body: Body): Statement[] {
  return body.flatMap((statement): Statement[] => [
    statement,
    ...statementParts(statement).flatMap((part) => "body" in part ? everyStatement(part.body) : []),
  ]);
}

function targetNames(target: Target): string[] {
  if (target.kind === "name") return [target.name];
  return target.kind === "tuple" ? target.items.flatMap(targetNames) : [];
}

/** Refuses a loop that sets `loop`, as Jinja2 does. */
export function refuseLoopAsName(loop: ForLoop): void {
  for (const statement of everyStatement([loop])) {
    const { kind } = statement;
    if (kind !== "for" && kind !== "set" && kind !== "setBlock") continue;
    if (targetNames(statement.target).includes("loop")) {
      fail("Can't assign to special loop variable in for-loop target");
    }
  }
}

/**
 * The names that expressions and statements read and set in their scope.
 *
 * @module
 */
import type { Body, Expression, Statement, Target } from "./nodes.ts";
import type { Symbols } from "./symbols.ts";
import { partsOf } from "./syntax_walk.ts";

/** Loads every name of an expression. */
export function visitExpression(expression: Expression | undefined, symbols: Symbols): void {
  if (!expression) return;
  if (expression.kind === "name") symbols.load(expression.name);
  for (const part of partsOf(expression)) visitExpression(part, symbols);
}

/** Hands the names of a target to `visit`, in their order. */
export function visitTarget(target: Target, visit: (name: string) => void, symbols: Symbols): void {
  if (target.kind === "name") visit(target.name);
  else if (target.kind === "field") symbols.load(target.namespace);
  else for (const item of target.items) visitTarget(item, visit, symbols);
}

/** Loads and stores the names of a statement; scopes within it are not entered. */
export function visitStatement(statement: Statement, symbols: Symbols): void {
  const store = (name: string): void => symbols.store(name);
  switch (statement.kind) {
    case "output":
      for (const part of statement.parts) if (typeof part !== "string") visitExpression(part, symbols);
      return;
    case "for":
      return visitExpression(statement.over, symbols);
    case "if":
      return visitBranches(statement.branches, { symbols, otherwise: statement.otherwise });
    case "macro":
      return symbols.store(statement.macro.name!);
    case "call":
      return visitExpression(statement.call, symbols);
    case "filter":
      return visitExpression(statement.filter, symbols);
    case "with":
      return statement.pairs.forEach(([, value]) => visitExpression(value, symbols));
    case "set":
      visitExpression(statement.value, symbols);
      return visitTarget(statement.target, store, symbols);
    case "setBlock":
      return visitTarget(statement.target, store, symbols);
  }
}

function visitBranches(
  branches: readonly { readonly test: Expression; readonly body: Body }[],
  { symbols, otherwise }: { symbols: Symbols; otherwise: Body },
): void {
  const [{ test, body }, ...rest] = branches;
  visitExpression(test, symbols);
  const [taken, others, last] = [symbols.branch(), symbols.branch(), symbols.branch()];
  for (const statement of body) visitStatement(statement, taken);
  for (const branch of rest) visitBranches([branch], { symbols: others, otherwise: [] });
  for (const statement of otherwise) visitStatement(statement, last);
  symbols.join([taken, others, last]);
}

/**
 * The scopes of a template, and checks that need the whole of it.
 *
 * @module
 */
import { fail } from "./errors.ts";
import type { Body, Expression, ForLoop, MacroBody, Statement } from "./nodes.ts";
import { type Names, Symbols } from "./symbols.ts";
import { partsOf, refuseLoopAsName, undeclared } from "./syntax_walk.ts";
import { visitExpression, visitStatement, visitTarget } from "./visit.ts";

/** The names that a macro's body uses besides its parameters. */
export interface MacroScope {
  readonly names: Names;
  readonly takesCaller: boolean;
  readonly takesKwargs: boolean;
  readonly takesVarargs: boolean;
}

/** The names of every scope of a template. */
export interface Scopes {
  readonly root: Names;
  /** Of a body that is a scope: of a loop, its `else`, a `with`, a captured block. */
  readonly bodies: ReadonlyMap<Body, Names>;
  /** Of the condition of a loop. */
  readonly tests: ReadonlyMap<ForLoop, Names>;
  readonly macros: ReadonlyMap<MacroBody, MacroScope>;
}

/** Names of the filters and tests there are. */
export interface Known {
  readonly filters: (name: string) => boolean;
  readonly tests: (name: string) => boolean;
}

/**
 * Finds the scopes of a template.
 *
 * @throws TemplateError for a filter or test that is not known, unless it stands in a condition: Jinja2 looks for such
 * only when it gets there.
 */
export function scopesOf(body: Body, known: Known): Scopes {
  const bodies = new Map<Body, Names>(), tests = new Map<ForLoop, Names>();
  const macros = new Map<MacroBody, MacroScope>();
  const root = new Symbols();
  for (const statement of body) visitStatement(statement, root);
  const walk = new Walk({ bodies, tests, macros }, known);
  walk.body(body, { symbols: root, isSoft: false });
  return { root: root.names, bodies, tests, macros };
}

interface Place {
  readonly symbols: Symbols;
  /** Whether a condition decides if it is reached, with no scope between. */
  readonly isSoft: boolean;
}

interface Found {
  readonly bodies: Map<Body, Names>;
  readonly tests: Map<ForLoop, Names>;
  readonly macros: Map<MacroBody, MacroScope>;
}

class Walk {
  constructor(readonly found: Found, readonly known: Known) {}

  body(body: Body, place: Place): void {
    for (const statement of body) this.#statement(statement, place);
  }

  #statement(statement: Statement, place: Place): void {
    switch (statement.kind) {
      case "output":
        return statement.parts.forEach((part) => typeof part === "string" || this.#check(part, place));
      case "for":
        return this.#loop(statement, place);
      case "if":
        return this.#branches(statement, place);
      case "macro":
        return this.#macro(statement.macro, place);
      case "call":
        this.#check(statement.call, place);
        return this.#macro(statement.caller, place);
      case "generation":
        return this.#macro(statement.caller, place);
      case "filter":
        return this.#scope(statement.body, place, (symbols) => {
          visitExpression(statement.filter, symbols);
          this.#check(statement.filter, { symbols, isSoft: false });
        });
      case "with":
        statement.pairs.forEach(([, value]) => this.#check(value, place));
        return this.#scope(statement.body, place, (symbols) => {
          for (const [target] of statement.pairs) {
            visitTarget(target, (name) => symbols.declare(name), symbols);
          }
        });
      case "set":
        return this.#check(statement.value, place);
      case "setBlock":
        return this.#scope(statement.body, place, (symbols) => {
          if (statement.filter) this.#check(statement.filter, { symbols, isSoft: false });
        });
    }
  }

  #branches({ branches, otherwise }: Statement & { kind: "if" }, { symbols }: Place): void {
    const soft = { symbols, isSoft: true };
    for (const { test, body } of branches) {
      this.#check(test, soft);
      this.body(body, soft);
    }
    this.body(otherwise, soft);
  }

  #scope(body: Body, { symbols: parent }: Place, prepare: (symbols: Symbols) => void): void {
    const symbols = new Symbols(parent);
    prepare(symbols);
    for (const statement of body) visitStatement(statement, symbols);
    this.found.bodies.set(body, symbols.names);
    this.body(body, { symbols, isSoft: false });
  }

  #loop(loop: ForLoop, place: Place): void {
    const { target, over, test, body, otherwise } = loop;
    refuseLoopAsName(loop);
    this.#check(over, place);
    const declareTarget = (symbols: Symbols): void =>
      visitTarget(target, (name) => symbols.declare(name), symbols);
    if (test) {
      const symbols = new Symbols(place.symbols);
      declareTarget(symbols);
      visitExpression(test, symbols);
      this.found.tests.set(loop, symbols.names);
      this.#check(test, { symbols, isSoft: false });
    }
    this.#scope(body, place, (symbols) => {
      symbols.declare("loop");
      declareTarget(symbols);
    });
    this.#scope(otherwise, place, () => {});
  }

  #macro(macro: MacroBody, { symbols: parent }: Place): void {
    const symbols = new Symbols(parent);
    for (const { name } of macro.parameters) symbols.declare(name);
    for (const parameter of macro.parameters) visitExpression(parameter.default, symbols);
    for (const statement of macro.body) visitStatement(statement, symbols);
    const asked = undeclared(macro.body, ["caller", "kwargs", "varargs"]);
    const own = (name: string): boolean => macro.parameters.some((parameter) => parameter.name === name);
    if (
      asked.has("caller") && macro.parameters.some(({ name, default: value }) => name === "caller" && !value)
    ) {
      fail('the special "caller" argument of a macro must be omitted or be given a default');
    }
    for (const name of asked) if (!own(name)) symbols.declare(name);
    this.found.macros.set(macro, {
      names: symbols.names,
      takesCaller: asked.has("caller"),
      takesKwargs: asked.has("kwargs") && !own("kwargs"),
      takesVarargs: asked.has("varargs") && !own("varargs"),
    });
    const place = { symbols, isSoft: false };
    for (const parameter of macro.parameters) if (parameter.default) this.#check(parameter.default, place);
    this.body(macro.body, place);
  }

  /** Refuses filters and tests that are not known. */
  #check(expression: Expression, place: Place): void {
    const inner = expression.kind === "condition" ? { ...place, isSoft: true } : place;
    if (!inner.isSoft && expression.kind === "filter" && !this.known.filters(expression.name)) {
      fail(`No filter named "${expression.name}"`);
    }
    if (!inner.isSoft && expression.kind === "test" && !this.known.tests(expression.name)) {
      fail(`No test named "${expression.name}"`);
    }
    for (const part of partsOf(expression)) if (part) this.#check(part, inner);
  }
}

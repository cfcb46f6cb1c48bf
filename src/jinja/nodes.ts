/**
 * The nodes of a parsed template.
 *
 * @module
 */
import type { Value } from "./values.ts";

/** Arguments as they are written. */
export interface Arguments {
  readonly args: readonly Expression[];
  readonly kwargs: readonly (readonly [name: string, value: Expression])[];
  /** `*args` */
  readonly spread?: Expression;
  /** `**kwargs` */
  readonly spreadKeywords?: Expression;
}

/** An expression. */
export type Expression =
  | { readonly kind: "const"; readonly value: Value }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "list" | "tuple"; readonly items: readonly Expression[] }
  | { readonly kind: "dict"; readonly pairs: readonly (readonly [Expression, Expression])[] }
  | { readonly kind: "attribute"; readonly of: Expression; readonly name: string }
  | { readonly kind: "item"; readonly of: Expression; readonly index: Expression }
  | { readonly kind: "slice"; readonly of: Expression; readonly bounds: readonly (Expression | undefined)[] }
  | { readonly kind: "call"; readonly of: Expression; readonly given: Arguments }
  | FilterExpression
  | TestExpression
  | { readonly kind: "unary"; readonly operator: "-" | "+" | "not"; readonly of: Expression }
  | {
    readonly kind: "binary" | "and" | "or";
    readonly operator: string;
    readonly left: Expression;
    readonly right: Expression;
  }
  | {
    readonly kind: "compare";
    readonly first: Expression;
    readonly rest: readonly (readonly [operator: string, Expression])[];
  }
  | { readonly kind: "concat"; readonly parts: readonly Expression[] }
  | {
    readonly kind: "condition";
    readonly test: Expression;
    readonly then: Expression;
    readonly otherwise?: Expression;
  };

/** `value | name(...)`; without a value what a block around it rendered. */
export interface FilterExpression {
  readonly kind: "filter";
  readonly of?: Expression;
  readonly name: string;
  readonly given: Arguments;
}

/** `value is name(...)` */
export interface TestExpression {
  readonly kind: "test";
  readonly of: Expression;
  readonly name: string;
  readonly given: Arguments;
}

/** The targets that may stand left of `=` or after `for`. */
export type Target =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "field"; readonly namespace: string; readonly name: string }
  | { readonly kind: "tuple"; readonly items: readonly Target[] };

/** A parameter of a macro; without a default it may still be left out, and is undefined then. */
export interface Parameter {
  readonly name: string;
  readonly default?: Expression;
}

/** A macro, or the body of a call block. */
export interface MacroBody {
  /** Null for a call block. */
  readonly name: string | null;
  readonly parameters: readonly Parameter[];
  readonly body: Body;
}

export interface ForLoop {
  readonly kind: "for";
  readonly target: Target;
  readonly over: Expression;
  readonly test?: Expression;
  readonly isRecursive: boolean;
  readonly body: Body;
  readonly otherwise: Body;
}

export interface Branches {
  readonly kind: "if";
  readonly branches: readonly { readonly test: Expression; readonly body: Body }[];
  readonly otherwise: Body;
}

/** A statement. */
export type Statement =
  | { readonly kind: "output"; readonly parts: readonly (string | Expression)[] }
  | ForLoop
  | Branches
  | { readonly kind: "macro"; readonly macro: MacroBody }
  | { readonly kind: "call"; readonly caller: MacroBody; readonly call: Expression & { kind: "call" } }
  | { readonly kind: "generation"; readonly caller: MacroBody }
  | { readonly kind: "filter"; readonly filter: FilterExpression; readonly body: Body }
  | {
    readonly kind: "with";
    readonly pairs: readonly (readonly [Target, Expression])[];
    readonly body: Body;
  }
  | { readonly kind: "set"; readonly target: Target; readonly value: Expression }
  | {
    readonly kind: "setBlock";
    readonly target: Target;
    readonly filter?: FilterExpression;
    readonly body: Body;
  }
  | { readonly kind: "break" | "continue" };

/** Statements in their order. */
export type Body = readonly Statement[];

/**
 * Statements, as they write their text.
 *
 * @module
 */
import { fail } from "./errors.ts";
import { call, evaluate, evaluateArguments } from "./evaluate.ts";
import { Frame } from "./frame.ts";
import { LoopContext, unpacked } from "./loop.ts";
import { Macro, type MacroArguments } from "./macro.ts";
import type { Body, FilterExpression, ForLoop, MacroBody, Statement, Target } from "./nodes.ts";
import { str } from "./print.ts";
import type { Run } from "./run.ts";
import type { Scopes } from "./scopes.ts";
import { iterate } from "./sequences.ts";
import { isTrue } from "./truth.ts";
import { Iter, Namespace, textOf, type Value } from "./values.ts";

/** How a body ended, where it did not reach its end. */
type Jump = "break" | "continue" | undefined;

/** A stretch of a template's text, in UTF-16 units. */
export interface Stretch {
  readonly start: number;
  readonly end: number;
}

/** What a template wrote. */
export interface Rendered {
  readonly text: string;
  /** What its `{% generation %}` blocks wrote, in order. */
  readonly generations: readonly Stretch[];
  /** Whether such a block stands in a text that is caught first, by a macro or a filter: its place is not known. */
  readonly hasLostGeneration: boolean;
}

/** Where text goes. */
class Output {
  readonly #parts: string[] = [];
  #length = 0;

  constructor(readonly run: Run) {}

  get length(): number {
    return this.#length;
  }

  write(text: string): void {
    this.#length += text.length;
    this.run.checkLength(this.#length);
    this.run.spend(text.length);
    this.#parts.push(text);
  }
  text(): string {
    return this.#parts.join("");
  }
}

/** The text of a template. */
export function renderBody(
  body: Body,
  { scopes, variables, run }: { scopes: Scopes; variables: ReadonlyMap<string, Value>; run: Run },
): Rendered {
  const output = new Output(run);
  const renderer = new Renderer(scopes, run, output);
  renderer.body(body, { frame: new Frame(scopes.root, variables), output });
  const { generations, hasLostGeneration } = renderer;
  return { text: output.text(), generations, hasLostGeneration };
}

/** The scope a statement stands in, and where its text goes. */
interface Place {
  readonly frame: Frame;
  readonly output: Output;
}

class Renderer {
  readonly #scopes: Scopes;
  readonly #run: Run;
  readonly #whole: Output;
  readonly generations: Stretch[] = [];
  hasLostGeneration = false;

  constructor(scopes: Scopes, run: Run, whole: Output) {
    this.#scopes = scopes;
    this.#run = run;
    this.#whole = whole;
  }

  body(body: Body, place: Place): Jump {
    for (const statement of body) {
      const jump = this.#statement(statement, place);
      if (jump) return jump;
    }
  }

  #value(node: Parameters<typeof evaluate>[0], frame: Frame): Value {
    return evaluate(node, frame, this.#run);
  }

  #statement(statement: Statement, place: Place): Jump {
    this.#run.spend();
    const { frame, output } = place;
    switch (statement.kind) {
      case "output":
        for (const part of statement.parts) {
          output.write(typeof part === "string" ? part : str(this.#value(part, frame)));
        }
        return;
      case "if":
        return this.#if(statement, place);
      case "for":
        return this.#for(statement, place);
      case "set":
        return this.#set(statement.target, { frame, value: () => this.#value(statement.value, frame) });
      case "macro":
        frame.set(statement.macro.name!, this.#macro(statement.macro, frame));
        return;
      case "call":
        output.write(str(this.#callBlock(statement, frame)));
        return;
      case "generation":
        return this.#generation(statement, place);
      case "filter":
      case "with":
      case "setBlock":
        return this.#scoped(statement, place);
      default:
        return statement.kind;
    }
  }

  #generation({ caller }: Statement & { kind: "generation" }, { frame, output }: Place): undefined {
    const text = str(call(this.#macro(caller, frame), noArguments, this.#run));
    const start = output.length;
    output.write(text);
    if (output === this.#whole) this.generations.push({ start, end: output.length });
    else this.hasLostGeneration = true;
  }

  #if({ branches, otherwise }: Statement & { kind: "if" }, place: Place): Jump {
    for (const { test, body } of branches) {
      if (isTrue(this.#value(test, place.frame))) return this.body(body, place);
    }
    return this.body(otherwise, place);
  }

  /** Blocks whose body is a scope of its own. */
  #scoped(statement: Statement & { kind: "filter" | "with" | "setBlock" }, { frame, output }: Place): Jump {
    const inner = this.#enter(statement.body, frame);
    if (statement.kind === "with") {
      for (const [target, value] of statement.pairs) this.#assign(target, this.#value(value, frame), inner);
      return this.body(statement.body, { frame: inner, output });
    }
    const captured = new Output(this.#run);
    const jump = this.body(statement.body, { frame: inner, output: captured });
    if (jump) return jump;
    const text = captured.text();
    const value = statement.filter ? this.#value(filterOf(statement.filter, text), inner) : text;
    if (statement.kind === "filter") output.write(str(value));
    else this.#set(statement.target, { frame, value: () => value });
  }

  #enter(body: Body, frame: Frame): Frame {
    return new Frame(this.#scopes.bodies.get(body)!, frame.variables, frame);
  }

  #for(loop: ForLoop, { frame, output }: Place): Jump {
    const over = this.#value(loop.over, frame);
    this.#run.spendOnParts(textOf(over)?.length);
    if (!loop.isRecursive) return this.#items(loop, { items: over, depth: 0, place: { frame, output } });
    const recurse = (items: Value, depth: number): Value =>
      this.#run.nested(() => {
        const inner = new Output(this.#run);
        this.#items(loop, { items, depth, place: { frame, output: inner }, recurse });
        return inner.text();
      });
    output.write(str(recurse(over, 0)));
  }

  #items(loop: ForLoop, { items, depth, place: { frame, output }, recurse }: {
    items: Value;
    depth: number;
    place: Place;
    recurse?: (items: Value, depth: number) => Value;
  }): Jump {
    const chosen = loop.test ? new Iter("generator", this.#chosen(loop, { items, frame })) : items;
    const context = new LoopContext(chosen, { recurse, depth });
    // As in Jinja2, a body that breaks or continues has not been gone through: `else` still follows.
    let isDone = false;
    for (let next = context.next(); next; next = context.next()) {
      this.#run.spend();
      const inner = this.#enter(loop.body, frame);
      inner.set("loop", context);
      this.#assign(loop.target, next.item, inner);
      const jump = this.body(loop.body, { frame: inner, output });
      if (jump === "break") break;
      if (jump === undefined) isDone = true;
    }
    if (!isDone && loop.otherwise.length > 0) {
      return this.body(loop.otherwise, { frame: this.#enter(loop.otherwise, frame), output });
    }
  }

  *#chosen(loop: ForLoop, { items, frame }: { items: Value; frame: Frame }): Generator<Value> {
    const inner = new Frame(this.#scopes.tests.get(loop)!, frame.variables, frame);
    for (const item of iterate(items)) {
      this.#run.spend();
      this.#assign(loop.target, item, inner);
      if (isTrue(this.#value(loop.test!, inner))) yield item;
    }
  }

  #set(target: Target, { frame, value }: { frame: Frame; value: () => Value }): undefined {
    for (const name of namespacesOf(target)) {
      if (!(frame.get(name) instanceof Namespace)) fail("cannot assign attribute on non-namespace object");
    }
    this.#assign(target, value(), frame);
  }

  #assign(target: Target, value: Value, frame: Frame): void {
    if (target.kind === "name") return frame.set(target.name, value);
    if (target.kind === "field") {
      return (frame.get(target.namespace) as Namespace).fields.set(target.name, value);
    }
    const items = unpacked(value, target.items.length);
    target.items.forEach((inner, index) => this.#assign(inner, items[index], frame));
  }

  #macro(body: MacroBody, frame: Frame): Macro {
    const scope = this.#scopes.macros.get(body)!;
    const render = (given: MacroArguments): string => {
      const inner = new Frame(scope.names, frame.variables, frame);
      for (const [name, value] of given) inner.set(name, value);
      for (const { name, default: fallback } of body.parameters) {
        if (inner.get(name) === undefined && fallback) inner.set(name, this.#value(fallback, inner));
      }
      const output = new Output(this.#run);
      this.body(body.body, { frame: inner, output });
      return output.text();
    };
    return new Macro(body, scope, render);
  }

  #callBlock(statement: Statement & { kind: "call" }, frame: Frame): Value {
    const caller = this.#macro(statement.caller, frame);
    const callee = this.#value(statement.call.of, frame);
    const { args, kwargs } = evaluateArguments(statement.call.given, frame, this.#run);
    if (kwargs.has("caller")) return fail("a call block gives the argument caller itself");
    return call(callee, { args, kwargs: new Map([...kwargs, ["caller", caller]]) }, this.#run);
  }
}

const noArguments = { args: [], kwargs: new Map<string, Value>() };

/** The filters of a block, of the text that it captured. */
function filterOf(filter: FilterExpression, text: string): FilterExpression {
  const { of } = filter;
  return { ...filter, of: of ? filterOf(of as FilterExpression, text) : { kind: "const", value: text } };
}

function namespacesOf(target: Target): string[] {
  if (target.kind === "field") return [target.namespace];
  return target.kind === "tuple" ? target.items.flatMap(namespacesOf) : [];
}

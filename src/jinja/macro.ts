/**
 * Macros, and bodies of call blocks.
 *
 * @module
 */
import { fail } from "./errors.ts";
import type { MacroBody } from "./nodes.ts";
import type { MacroScope } from "./scopes.ts";
import type { Run } from "./run.ts";
import { type CallArguments, Dict, Thing, Tuple, Undefined, type Value } from "./values.ts";

/** Values of the parameters of a macro; what was not given has none yet. */
export type MacroArguments = ReadonlyMap<string, Value | undefined>;

/** A macro that was reached, with the scope that it was reached in. */
export class Macro extends Thing {
  readonly typeName = "Macro";

  constructor(
    readonly body: MacroBody,
    readonly scope: MacroScope,
    readonly render: (given: MacroArguments) => string,
  ) {
    super();
  }

  override readonly call = (given: CallArguments, run: Run): Value =>
    run.nested(() => this.render(this.#match(given)));

  override attribute(name: string): Value | undefined {
    const { body, scope } = this;
    if (name === "name") return body.name;
    if (name === "arguments") return new Tuple(body.parameters.map((parameter) => parameter.name));
    if (name === "caller") return scope.takesCaller;
    if (name === "catch_kwargs") return scope.takesKwargs;
    if (name === "catch_varargs") return scope.takesVarargs;
    return name === "explicit_caller" ? this.#ownCaller : undefined;
  }

  override repr(print: (value: Value) => string): string {
    return `<Macro ${this.body.name === null ? "anonymous" : print(this.body.name)}>`;
  }

  get #ownCaller(): boolean {
    return this.body.parameters.some(({ name }) => name === "caller");
  }

  #match({ args, kwargs }: CallArguments): MacroArguments {
    const { body: { parameters }, scope } = this;
    const rest = new Map(kwargs), values = new Map<string, Value | undefined>();
    parameters.forEach(({ name }, index) => {
      if (index < args.length) return values.set(name, args[index]);
      values.set(name, rest.get(name));
      rest.delete(name);
    });
    if (scope.takesCaller && !this.#ownCaller) {
      values.set("caller", rest.get("caller") ?? new Undefined("No caller defined"));
      rest.delete("caller");
    }
    const label = `macro '${this.body.name}'`;
    if (scope.takesKwargs) values.set("kwargs", new Dict(rest));
    else if (rest.size > 0) return fail(`${label} takes no keyword argument '${[...rest.keys()][0]}'`);
    if (scope.takesVarargs) values.set("varargs", new Tuple(args.slice(parameters.length)));
    else if (args.length > parameters.length) {
      return fail(`${label} takes not more than ${parameters.length} argument(s)`);
    }
    return values;
  }
}

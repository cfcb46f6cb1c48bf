/**
 * The functions that every template can call.
 *
 * @module
 */
import { Bound } from "./arguments.ts";
import { fail } from "./errors.ts";
import { unpacked } from "./loop.ts";
import { str } from "./print.ts";
import { iterate } from "./sequences.ts";
import { strftime } from "./strftime.ts";
import {
  type CallArguments,
  Dict,
  Func,
  intOf,
  Namespace,
  Range,
  Thing,
  typeName,
  type Value,
} from "./values.ts";

function range({ args, kwargs }: CallArguments): Value {
  const bounds = args.map((arg) =>
    intOf(arg) ?? fail(`'${typeName(arg)}' object cannot be interpreted as an integer`)
  );
  if (kwargs.size > 0 || bounds.length < 1 || bounds.length > 3) {
    return fail("range expects 1 to 3 arguments");
  }
  const [start, stop, step = 1n] = bounds.length === 1 ? [0n, bounds[0]] : bounds;
  return new Range(start, stop, step);
}

function dict({ args, kwargs }: CallArguments): Dict {
  if (args.length > 1) return fail(`dict expected at most 1 argument, got ${args.length}`);
  const [source] = args;
  const entries = source === undefined
    ? []
    : source instanceof Dict
    ? [...source.entries()]
    : source instanceof Namespace
    ? fail("a dict of a namespace is not supported")
    : [...iterate(source)].map((pair) => unpacked(pair, 2) as [Value, Value]);
  return new Dict([...entries, ...kwargs]);
}

class Cycler extends Thing {
  readonly typeName = "Cycler";
  #at = 0;
  constructor(readonly items: readonly Value[]) {
    super();
    if (items.length === 0) fail("at least one item has to be provided");
  }
  override attribute(name: string): Value | undefined {
    if (name === "current") return this.items[this.#at];
    if (name === "pos") return BigInt(this.#at);
    if (name === "items") return fail('the attribute "items" of a cycler is not supported');
    if (name === "reset") {
      return new Func("cycler.reset", () => {
        this.#at = 0;
        return null;
      });
    }
    if (name !== "next") return undefined;
    return new Func("cycler.next", () => {
      const current = this.items[this.#at];
      this.#at = (this.#at + 1) % this.items.length;
      return current;
    });
  }
}

class Joiner extends Thing {
  readonly typeName = "Joiner";
  #isUsed = false;
  constructor(readonly separator: Value) {
    super();
  }
  override readonly call = (given: CallArguments): Value => {
    new Bound("joiner()", [], given);
    if (this.#isUsed) return this.separator;
    this.#isUsed = true;
    return "";
  };
}

const functions: Readonly<Record<string, Func["call"]>> = {
  range,
  dict,
  namespace: (given) => new Namespace(dict(given)),
  cycler: ({ args }) => new Cycler(args),
  joiner: (given) => new Joiner(new Bound("joiner", [["sep", ", "]], given).value(0)),
  lipsum: () => fail('the function "lipsum" is not supported: it gives another text each time'),
  raise_exception: (given) => fail(str(new Bound("raise_exception", [["message"]], given).value(0))),
  strftime_now: (given, run) => strftime(run.now(), new Bound("strftime_now", [["format"]], given).text(0)),
};

/** The functions by name, as a template finds them where no variable has the name. */
export const globals: ReadonlyMap<string, Value> = new Map(
  Object.entries(functions).map(([name, call]) => [name, new Func(name, call)]),
);

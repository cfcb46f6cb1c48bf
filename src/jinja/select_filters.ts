/**
 * Filters that use another filter or a test for each item.
 *
 * @module
 */
import type { Operation } from "./arguments.ts";
import { follow } from "./attributes.ts";
import { fail } from "./errors.ts";
import type { Run } from "./run.ts";
import { iterate } from "./sequences.ts";
import { isTrue } from "./truth.ts";
import { type CallArguments, Iter, textOf, type Value } from "./values.ts";

function named(kind: "filters" | "tests", name: Value, run: Run): Operation {
  const text = textOf(name) ?? fail("the name of a filter or a test must be a text");
  return run.library[kind].get(text) ?? fail(`No ${kind.slice(0, -1)} named '${text}'.`);
}

function mapper({ args, kwargs }: CallArguments, run: Run): (item: Value) => Value {
  const attribute = kwargs.get("attribute");
  if (args.length === 0 && attribute !== undefined) {
    for (const name of kwargs.keys()) {
      if (name !== "attribute" && name !== "default") fail(`Unexpected keyword argument "${name}"`);
    }
    return (item) => follow(item, attribute, kwargs.get("default") ?? null);
  }
  const [name, ...rest] = args;
  if (name === undefined) return fail("map requires a filter argument");
  return (item) => named("filters", name, run)(item, { args: rest, kwargs }, run);
}

function* mapped(value: Value, given: CallArguments, run: Run): Generator<Value> {
  if (!isTrue(value)) return;
  const map = mapper(given, run);
  for (const item of iterate(value)) {
    run.spend();
    yield map(item);
  }
}

/** How `select` and its like differ. */
interface Choice {
  readonly byAttribute: boolean;
  readonly keeps: boolean;
}

function predicate(
  { args, kwargs }: CallArguments,
  { byAttribute, run }: { byAttribute: boolean; run: Run },
) {
  const [path] = args;
  if (byAttribute && path === undefined) fail("Missing parameter for attribute name");
  const [name, ...rest] = byAttribute ? args.slice(1) : args;
  return (item: Value): boolean => {
    const of = byAttribute ? follow(item, path) : item;
    return isTrue(name === undefined ? of : named("tests", name, run)(of, { args: rest, kwargs }, run));
  };
}

const selecting = ({ byAttribute, keeps }: Choice): Operation => (value, given, run) => {
  function* items(): Generator<Value> {
    if (!isTrue(value)) return;
    const test = predicate(given, { byAttribute, run });
    for (const item of iterate(value)) {
      run.spend();
      if (test(item) === keeps) yield item;
    }
  }
  return new Iter("generator", items());
};

/** The filters by name. */
export const selectFilters: Readonly<Record<string, Operation>> = {
  map: (value, given, run) => new Iter("generator", mapped(value, given, run)),
  reject: selecting({ byAttribute: false, keeps: false }),
  rejectattr: selecting({ byAttribute: true, keeps: false }),
  select: selecting({ byAttribute: false, keeps: true }),
  selectattr: selecting({ byAttribute: true, keeps: true }),
};

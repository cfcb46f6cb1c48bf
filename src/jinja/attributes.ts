/**
 * `value.name` and `value[key]`, in the sandbox that transformers renders in.
 *
 * @module
 */
import { Bound } from "./arguments.ts";
import { fail } from "./errors.ts";
import { equals } from "./operators.ts";
import { repr } from "./print.ts";
import { subscript } from "./sequences.ts";
import { textMethods } from "./text_methods.ts";
import {
  type CallArguments,
  Dict,
  Func,
  GroupTuple,
  isList,
  itemsOf,
  Markup,
  orElse,
  Range,
  textOf,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.ts";

/** Names of attributes that Python has and templates get as undefined: they would change the value. */
const changing: Readonly<Record<string, readonly string[]>> = {
  dict: ["clear", "pop", "popitem", "setdefault", "update"],
  list: ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"],
};

/** Names of attributes that Python has and that are not supported here. */
const missing: Readonly<Record<string, readonly string[]>> = {
  str: ["encode", "maketrans", "translate"],
  dict: ["fromkeys"],
  int: [
    "as_integer_ratio",
    "bit_count",
    "bit_length",
    "conjugate",
    "denominator",
    "from_bytes",
    "imag",
    "is_integer",
    "numerator",
    "real",
    "to_bytes",
  ],
  float: ["as_integer_ratio", "conjugate", "fromhex", "hex", "imag", "is_integer", "real"],
  range: ["count", "index"],
  dict_keys: ["isdisjoint", "mapping"],
  dict_values: ["mapping"],
  dict_items: ["isdisjoint", "mapping"],
  generator: ["close", "send", "throw", "gi_code", "gi_frame", "gi_running", "gi_suspended", "gi_yieldfrom"],
};

const dunder = /^__[a-z_]+__$/;
const none: readonly string[] = [];

/** Jinja2's name of a value in messages. */
function describe(value: Value): string {
  return value === null ? "None" : `${typeName(value)} object`;
}

function absent(value: Value, key: Value): Undefined {
  const name = textOf(key);
  return new Undefined(
    name === undefined
      ? `${describe(value)} has no element ${repr(key)}`
      : `'${describe(value)}' has no attribute '${name}'`,
  );
}

/** An attribute of Python's own; nothing where there is none. */
function attribute(value: Value, name: string): Value | undefined {
  if (value instanceof Undefined) return value.fail();
  if (dunder.test(name)) {
    return new Undefined(`access to attribute '${name}' of '${typeName(value)}' object is unsafe.`);
  }
  const type = typeof value === "boolean" ? "int" : typeName(value);
  if ((changing[type] ?? none).includes(name)) {
    return new Undefined(`access to attribute '${name}' of '${type}' object is unsafe.`);
  }
  if ((missing[type] ?? none).includes(name)) {
    return fail(`the attribute "${name}" of a ${type} is not supported`);
  }
  if (value instanceof Thing) return name.startsWith("_") ? undefined : value.attribute(name);
  if (value instanceof Markup) return fail(`the attribute "${name}" of a text marked safe is not supported`);
  if (typeof value === "string") return textAttribute(value, name);
  if (value instanceof Dict) return dictAttribute(value, name);
  if (value instanceof GroupTuple && (name === "grouper" || name === "list")) {
    return value.items[name === "grouper" ? 0 : 1];
  }
  if (isList(value) || value instanceof Tuple) return listAttribute(value, name);
  if (value instanceof Range && (name === "start" || name === "stop" || name === "step")) return value[name];
  return undefined;
}

function textAttribute(text: string, name: string): Value | undefined {
  const method = textMethods.get(name);
  return method && new Func(`str.${name}`, (given, run) => method(text, given, run));
}

function dictAttribute(dict: Dict, name: string): Value | undefined {
  const method = dictMethods.get(name);
  return method && new Func(`dict.${name}`, (given) => method(dict, given));
}

const dictMethods: ReadonlyMap<string, (dict: Dict, given: CallArguments) => Value> = new Map(
  Object.entries({
    copy: (dict: Dict, given: CallArguments) => (new Bound("copy()", [], given), dict),
    get(dict: Dict, given: CallArguments) {
      if (given.kwargs.size > 0) return fail("dict.get() takes no keyword arguments");
      const bound = new Bound("get()", [["key"], ["default", null]], given);
      return orElse(dict.get(bound.value(0)), () => bound.value(1));
    },
    items: (dict: Dict, given: CallArguments) => (new Bound("items()", [], given), new View("items", dict)),
    keys: (dict: Dict, given: CallArguments) => (new Bound("keys()", [], given), new View("keys", dict)),
    values: (
      dict: Dict,
      given: CallArguments,
    ) => (new Bound("values()", [], given), new View("values", dict)),
  }),
);

function listAttribute(list: Value, name: string): Value | undefined {
  const items = itemsOf(list)!;
  if (name === "copy" && isList(list)) return new Func("list.copy", () => list);
  if (name === "count") {
    return new Func("list.count", (given, run) => {
      run.spendOnParts(items.length);
      const wanted = new Bound("count()", [["value"]], given).value(0);
      return BigInt(items.filter((item) => equals(item, wanted)).length);
    });
  }
  if (name !== "index") return undefined;
  return new Func("list.index", (given, run) => {
    run.spendOnParts(items.length);
    const bound = new Bound("index()", [["value"], ["start", 0n], ["stop", null]], given);
    const clamp = (at: number): number => at < 0 ? Math.max(0, at + items.length) : at;
    const start = clamp(bound.int(1)), stop = clamp(bound.optionalInt(2) ?? items.length);
    const wanted = bound.value(0);
    const at = items.findIndex((item, index) => index >= start && index < stop && equals(item, wanted));
    return at < 0 ? fail(`${repr(wanted)} is not in list`) : BigInt(at);
  });
}

/** `value.name`: an attribute, or else an item. */
export function getAttribute(value: Value, name: string): Value {
  return orElse(attribute(value, name), () => orElse(subscript(value, name), () => absent(value, name)));
}

/** `value[key]`: an item, or else an attribute. */
export function getItem(value: Value, key: Value): Value {
  const item = subscript(value, key);
  if (item !== undefined) return item;
  const name = textOf(key);
  return orElse(name === undefined ? undefined : attribute(value, name), () => absent(value, key));
}

/** The filter `attr`: an attribute and never an item. */
export function onlyAttribute(value: Value, name: string): Value {
  return orElse(attribute(value, name), () => absent(value, name));
}

/** The value at a path like `a.b.0`; `fallback` stands for undefined values on the way. */
export function follow(value: Value, path: Value, fallback: Value = null): Value {
  const text = textOf(path);
  const keys: readonly Value[] = text === undefined
    ? path === null ? [] : [path]
    : text.split(".").map((part) => /^\p{Nd}+$/u.test(part) ? BigInt(part) : part);
  return keys.reduce<Value>((of, key) => {
    const found = getItem(of, key);
    return fallback !== null && found instanceof Undefined ? fallback : found;
  }, value);
}

/**
 * The values of a template, as Python has them.
 *
 * None is null, an int a bigint, a float a number, a list an array; the rest are the classes below.
 *
 * @module
 */
import { fail } from "./errors.ts";
import type { Run } from "./run.ts";

/** A value of a template. */
export type Value =
  | null
  | boolean
  | bigint
  | number
  | string
  | readonly Value[]
  | Markup
  | Tuple
  | Dict
  | Range
  | View
  | Iter
  | Undefined
  | Thing;

/** Arguments by name, in the order they were written. */
export type Keywords = ReadonlyMap<string, Value>;

/** The arguments of a call. */
export interface CallArguments {
  readonly args: readonly Value[];
  readonly kwargs: Keywords;
}

/** A missing variable, field or element. It prints as nothing; most other uses throw. */
export class Undefined {
  constructor(readonly message: string) {}
  fail(): never {
    fail(this.message);
  }
}

/** A text that `safe` or `escape` marked. */
export class Markup {
  constructor(readonly text: string) {}
}

/** An immutable list. */
export class Tuple {
  constructor(readonly items: readonly Value[]) {}
}

/** The result of `groupby`: a tuple whose two items have names. */
export class GroupTuple extends Tuple {}

/** The whole numbers from `start` on in steps, below (or above) `stop`. */
export class Range {
  readonly length: number;
  constructor(readonly start: bigint, readonly stop: bigint, readonly step: bigint) {
    if (step === 0n) fail("range() arg 3 must not be zero");
    const span = step > 0n ? stop - start : start - stop;
    const size = step > 0n ? step : -step;
    const length = span <= 0n ? 0n : (span + size - 1n) / size;
    if (length > 100_000n) fail("Range too big: a template may have ranges of up to 100000 items");
    this.length = Number(length);
  }
  at(index: number): bigint {
    return this.start + BigInt(index) * this.step;
  }
}

/** `keys()`, `values()` or `items()` of a dict. */
export class View {
  constructor(readonly kind: "keys" | "values" | "items", readonly dict: Dict) {}
  *[Symbol.iterator](): Generator<Value> {
    for (const [key, value] of this.dict.entries()) {
      yield this.kind === "keys" ? key : this.kind === "values" ? value : new Tuple([key, value]);
    }
  }
}

/** A generator of Python, which can be iterated once. */
export class Iter {
  constructor(readonly kind: string, readonly source: Iterator<Value>) {}
}

/** A value with attributes of its own: a function, a macro, a namespace, `loop`. */
export abstract class Thing {
  /** The name of its Python type. */
  abstract readonly typeName: string;
  /** An attribute by name; nothing where there is none. */
  attribute(_name: string): Value | undefined {
    return undefined;
  }
  /** The result of calling it; nothing where it cannot be called. */
  readonly call?: (given: CallArguments, run: Run) => Value;
  /** The result of `len`; nothing where it has none. */
  length(): number | undefined {
    return undefined;
  }
  /** Its printed text, from the print of its values; nothing where Python prints an address. */
  repr(_print: (value: Value) => string): string | undefined {
    return undefined;
  }
}

/** A function, or a method bound to its value. */
export class Func extends Thing {
  readonly typeName = "builtin_function_or_method";
  constructor(readonly label: string, override readonly call: (given: CallArguments, run: Run) => Value) {
    super();
  }
}

/** The result of `namespace()`: the only value whose fields a template may set. */
export class Namespace extends Thing {
  readonly typeName = "Namespace";
  constructor(readonly fields: Dict) {
    super();
  }
  override attribute(name: string): Value | undefined {
    return this.fields.get(name);
  }
  override repr(print: (value: Value) => string): string {
    return `<Namespace ${print(this.fields)}>`;
  }
}

/** A mapping in the order of insertion, with Python's keys: 1, 1.0 and True are one key. */
export class Dict {
  readonly #entries = new Map<string, readonly [Value, Value]>();

  constructor(entries: Iterable<readonly [Value, Value]> = []) {
    for (const [key, value] of entries) this.set(key, value);
  }
  get size(): number {
    return this.#entries.size;
  }
  get(key: Value): Value | undefined {
    return this.#entries.get(keyOf(key))?.[1];
  }
  has(key: Value): boolean {
    return this.#entries.has(keyOf(key));
  }
  /** For the maker of a dict only: a template never changes one. */
  set(key: Value, value: Value): void {
    const hash = keyOf(key);
    this.#entries.set(hash, [this.#entries.get(hash)?.[0] ?? key, value]);
  }
  entries(): IterableIterator<readonly [Value, Value]> {
    return this.#entries.values();
  }
}

const numbers = new WeakMap<object, number>();
let things = 0;

function identity(value: object): number {
  const known = numbers.get(value) ?? things++;
  numbers.set(value, known);
  return known;
}

/** A text that two values share where Python takes them for one key. */
export function keyOf(value: Value): string {
  if (typeof value === "string") return `s${value}`;
  if (value === null) return "none";
  if (typeof value === "boolean") return value ? "i1" : "i0";
  if (typeof value === "bigint") return `i${value}`;
  if (typeof value === "number") return Number.isInteger(value) ? `i${BigInt(value)}` : `f${value}`;
  if (value instanceof Markup) return `s${value.text}`;
  if (value instanceof Tuple) {
    const keys = value.items.map(keyOf);
    return `t${keys.map((key) => `${key.length}:${key}`).join("")}`;
  }
  if (value instanceof Undefined) return "undefined";
  if (Array.isArray(value) || value instanceof Dict) return fail(`unhashable type: '${typeName(value)}'`);
  if (value instanceof View || value instanceof Range) {
    return fail(`a ${typeName(value)} as a key is not supported`);
  }
  return `o${identity(value as object)}`;
}

/** The value, or another where there is none. `??` would take None for none. */
export function orElse(value: Value | undefined, other: () => Value): Value {
  return value === undefined ? other() : value;
}

/** The name of a value's Python type. */
export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "bigint") return "int";
  if (typeof value === "number") return "float";
  if (typeof value === "string") return "str";
  if (value instanceof Markup) return "Markup";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Dict) return "dict";
  if (value instanceof Range) return "range";
  if (value instanceof View) return `dict_${value.kind}`;
  if (value instanceof Iter) return value.kind;
  if (value instanceof Undefined) return "Undefined";
  if (value instanceof Thing) return value.typeName;
  return "list";
}

/** Whether a value is a list. */
export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

/** The items of a list or a tuple. */
export function itemsOf(value: Value): readonly Value[] | undefined {
  return isList(value) ? value : value instanceof Tuple ? value.items : undefined;
}

/** A text, marked or not. */
export function textOf(value: Value): string | undefined {
  return typeof value === "string" ? value : value instanceof Markup ? value.text : undefined;
}

/** An int, or a bool as the int that it is in Python. */
export function intOf(value: Value): bigint | undefined {
  return typeof value === "bigint" ? value : typeof value === "boolean" ? BigInt(value) : undefined;
}

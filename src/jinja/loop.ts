/**
 * The variable `loop`.
 *
 * @module
 */
import { fail } from "./errors.ts";
import { equals } from "./operators.ts";
import { iterate } from "./sequences.ts";
import { lengthOf } from "./truth.ts";
import { type CallArguments, Func, isList, Iter, Thing, Tuple, Undefined, type Value } from "./values.ts";

/** Renders the loop again over other items. */
export type Recurse = (items: Value, depth: number) => Value;

/** A loop and where it is. Items come one by one, so that a condition sees what the body changed before. */
export class LoopContext extends Thing {
  readonly typeName = "LoopContext";
  #index0 = -1;
  #source: Iterator<Value>;
  #length: number | undefined;
  #after: IteratorResult<Value, unknown> | undefined;
  #current: Value = null;
  #before: Value = null;
  #changed: Value | undefined;
  readonly #recurse: Recurse | undefined;
  readonly #depth0: number;

  constructor(readonly items: Value, { recurse, depth = 0 }: { recurse?: Recurse; depth?: number } = {}) {
    super();
    this.#source = iterate(items)[Symbol.iterator]();
    this.#recurse = recurse;
    this.#depth0 = depth;
  }

  /** The next item; nothing at the end. */
  next(): { readonly item: Value } | undefined {
    const found = this.#after ?? this.#source.next();
    this.#after = undefined;
    if (found.done) return undefined;
    this.#index0++;
    this.#before = this.#current;
    this.#current = found.value;
    return { item: found.value };
  }

  override length(): number {
    const known = this.#length ?? (this.items instanceof Iter ? undefined : lengthOf(this.items));
    if (known !== undefined) return this.#length = known;
    const rest: Value[] = [];
    for (let next = this.#source.next(); !next.done; next = this.#source.next()) rest.push(next.value);
    this.#source = rest[Symbol.iterator]();
    const isPeeked = this.#after !== undefined && !this.#after.done;
    return this.#length = rest.length + this.#index0 + 1 + (isPeeked ? 1 : 0);
  }

  #peek(): IteratorResult<Value, unknown> {
    return this.#after ??= this.#source.next();
  }

  override attribute(name: string): Value | undefined {
    return Object.hasOwn(this.#attributes, name) ? this.#attributes[name]() : undefined;
  }

  override repr(): string {
    return `<LoopContext ${this.#index0 + 1}/${this.length()}>`;
  }

  override readonly call = ({ args, kwargs }: CallArguments): Value => {
    if (!this.#recurse) return fail("The loop must have the 'recursive' marker to be called recursively.");
    const items = args.length > 0 ? args[0] : kwargs.get("iterable");
    if (items === undefined || args.length + kwargs.size !== 1) return fail("loop() takes one argument");
    return this.#recurse(items, this.#depth0 + 1);
  };

  readonly #attributes: Readonly<Record<string, () => Value>> = {
    index: () => BigInt(this.#index0 + 1),
    index0: () => BigInt(this.#index0),
    revindex: () => BigInt(this.length() - this.#index0),
    revindex0: () => BigInt(this.length() - this.#index0 - 1),
    first: () => this.#index0 === 0,
    last: () => this.#peek().done === true,
    length: () => BigInt(this.length()),
    depth: () => BigInt(this.#depth0 + 1),
    depth0: () => BigInt(this.#depth0),
    previtem: () => this.#index0 === 0 ? new Undefined("there is no previous item") : this.#before,
    nextitem: () => {
      const next = this.#peek();
      return next.done ? new Undefined("there is no next item") : next.value;
    },
    cycle: () =>
      new Func(
        "loop.cycle",
        ({ args }) =>
          args.length === 0 ? fail("no items for cycling given") : args[this.#index0 % args.length],
      ),
    changed: () =>
      new Func("loop.changed", ({ args }) => {
        const value = new Tuple(args);
        if (this.#changed !== undefined && equals(this.#changed, value)) return false;
        this.#changed = value;
        return true;
      }),
  };
}

/** The items of a target that has several, as many as it wants. */
export function unpacked(value: Value, count: number): readonly Value[] {
  const items = isList(value) ? value : [...iterate(value)];
  if (items.length < count) {
    return fail(`not enough values to unpack (expected ${count}, got ${items.length})`);
  }
  if (items.length > count) return fail(`too many values to unpack (expected ${count})`);
  return items;
}

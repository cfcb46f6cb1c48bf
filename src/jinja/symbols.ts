/**
 * Which names a scope has, and what each is when the scope is entered.
 *
 * Jinja2 decides this before a template runs, and templates show it. A name that is first set in a scope is undefined
 * there until then. That holds even in a loop above, and even if the caller passed the name.
 *
 * @module
 */

/**
 * Where a name's first value is from: whoever enters the scope, the template's variables, the scope around it, or
 * nowhere yet.
 */
export type Origin = "parameter" | "variable" | "outer" | "undefined";

/** The names of a scope. */
export type Names = ReadonlyMap<string, Origin>;

/** The names of one scope while they are found. */
export class Symbols {
  readonly #names: Map<string, Origin>;
  readonly #stored: Set<string>;

  constructor(readonly parent?: Symbols, from?: Symbols) {
    this.#names = new Map(from ? from.#names : []);
    this.#stored = new Set(from ? from.#stored : []);
  }

  get names(): Names {
    return this.#names;
  }
  /** Whether the name is one of this scope or of those around it. */
  knows(name: string): boolean {
    return this.#names.has(name) || (this.parent?.knows(name) ?? false);
  }
  declare(name: string): void {
    this.#stored.add(name);
    this.#names.set(name, "parameter");
  }
  load(name: string): void {
    if (!this.knows(name)) this.#names.set(name, "variable");
  }
  store(name: string): void {
    this.#stored.add(name);
    if (!this.#names.has(name)) this.#names.set(name, this.parent?.knows(name) ? "outer" : "undefined");
  }
  /** The same names, for a branch that may be taken or not. */
  branch(): Symbols {
    return new Symbols(this.parent, this);
  }
  /** Takes over what the branches found. What only a branch sets keeps the value that it had outside. */
  join(branches: readonly Symbols[]): void {
    const stored = branches.flatMap((branch) => [...branch.#stored]).filter((name) =>
      !this.#stored.has(name)
    );
    for (const branch of branches) {
      for (const [name, origin] of branch.#names) this.#names.set(name, origin);
      for (const name of branch.#stored) this.#stored.add(name);
    }
    for (const name of stored) this.#names.set(name, this.parent?.knows(name) ? "outer" : "variable");
  }
}

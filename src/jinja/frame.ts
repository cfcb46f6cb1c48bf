/**
 * Variables while a template runs.
 *
 * @module
 */
import { fail } from "./errors.ts";
import type { Names } from "./symbols.ts";
import type { Value } from "./values.ts";

/** The values of a scope that was entered. A name without a value is known and undefined. */
export class Frame {
  readonly #values = new Map<string, Value | undefined>();

  constructor(names: Names, readonly variables: ReadonlyMap<string, Value>, readonly parent?: Frame) {
    for (const [name, origin] of names) {
      const value = origin === "variable"
        ? variables.get(name)
        : origin === "outer"
        ? parent!.get(name)
        : undefined;
      this.#values.set(name, value);
    }
  }
  get(name: string): Value | undefined {
    const value = this.#values.get(name);
    if (value !== undefined || this.#values.has(name)) return value;
    return this.parent ? this.parent.get(name) : fail(`the name "${name}" is not known where it stands`);
  }
  set(name: string, value: Value | undefined): void {
    this.#values.set(name, value);
  }
}

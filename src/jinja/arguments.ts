/**
 * Arguments of calls, matched to parameters as Python matches them.
 *
 * @module
 */
import { fail } from "./errors.ts";
import { isTrue } from "./truth.ts";
import type { Run } from "./run.ts";
import { type CallArguments, intOf, textOf, typeName, type Value } from "./values.ts";

/** The work of a filter or a test on a value. */
export type Operation = (value: Value, given: CallArguments, run: Run) => Value;

/** Filters and tests by name. */
export interface Library {
  readonly filters: ReadonlyMap<string, Operation>;
  readonly tests: ReadonlyMap<string, Operation>;
}

/** Names of parameters; those with a second entry may be left out, and are that then. */
export type Parameters = readonly (readonly [name: string, fallback?: Value])[];

/** The value given for each parameter. */
export class Bound {
  readonly #values: readonly Value[];

  constructor(readonly label: string, parameters: Parameters, { args, kwargs }: CallArguments) {
    if (args.length > parameters.length) fail(`${label} takes at most ${parameters.length} arguments`);
    for (const name of kwargs.keys()) {
      const at = parameters.findIndex(([known]) => known === name);
      if (at < 0) fail(`${label} got an unexpected keyword argument "${name}"`);
      if (at < args.length) fail(`${label} got multiple values for argument "${name}"`);
    }
    this.#values = parameters.map(([name, ...fallback], index) => {
      if (index < args.length) return args[index];
      const named = kwargs.get(name);
      if (named !== undefined) return named;
      return fallback.length > 0 ? fallback[0]! : fail(`${label} misses the argument "${name}"`);
    });
  }

  value(index: number): Value {
    return this.#values[index];
  }
  isTrue(index: number): boolean {
    return isTrue(this.value(index));
  }
  text(index: number): string {
    const value = this.value(index);
    return textOf(value) ?? fail(`${this.label}: expected str, got ${typeName(value)}`);
  }
  /** An int that a number holds, cut to what a length may be. */
  int(index: number): number {
    const value = this.value(index);
    const int = intOf(value) ?? fail(`${this.label}: expected int, got ${typeName(value)}`);
    return int > 2n ** 52n ? 2 ** 52 : int < -(2n ** 52n) ? -(2 ** 52) : Number(int);
  }
  /** As {@linkcode int}; nothing for None. */
  optionalInt(index: number): number | undefined {
    return this.value(index) === null ? undefined : this.int(index);
  }
}

/** An operation whose arguments have names. */
export function operation(
  parameters: Parameters,
  apply: (value: Value, given: Bound, run: Run) => Value,
): Operation {
  return (value, given, run) => apply(value, new Bound("the filter or test", parameters, given), run);
}

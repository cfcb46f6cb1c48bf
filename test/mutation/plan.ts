/**
 * A plan: every fault that can be switched on in a copy of the source, and the tests that reach it.
 *
 * @module
 */

/** One small change of the code. */
export interface Mutant {
  /** What switches it on: the value of `__STRYKER_ACTIVE_MUTANT__`. */
  readonly id: string;
  readonly file: string;
  /** Of the first character, both from 1. */
  readonly line: number;
  readonly column: number;
  readonly mutator: string;
  readonly original: string;
  readonly replacement: string;
  /** Indices of the tests that run the changed code. */
  readonly tests: readonly number[];
}

/** A test. */
export interface Test {
  readonly file: string;
  readonly name: string;
  /** How long the test takes when nothing is changed. */
  readonly ms: number;
}

/** What stands in plan.json, beside the folder `source` of changed files. */
export interface Plan {
  readonly area: string;
  readonly tests: readonly Test[];
  readonly mutants: readonly Mutant[];
}

/** What became of a mutant: the first two are noticed. */
export type Status = "killed" | "timeout" | "survived" | "uncovered";

/** A line of results.jsonl. */
export interface Result {
  /** The mutant, by `keyOf`. */
  readonly key: string;
  readonly status: Status;
  /** The test file that noticed. */
  readonly by?: string;
}

/** Names a mutant by its place and text: ids change when a file does. */
export function keyOf({ file, line, column, original, replacement }: Mutant): string {
  return `${file}:${line}:${column} ${original} => ${replacement}`;
}

/**
 * Loaded before a test file. MUTATION_RECORD names a file to write what each test reaches and how long it takes to;
 * MUTATION_TESTS is a list of the tests to run, as JSON, and MUTATION_LEFT_OUT a pattern of names of those
 * that are recorded without a run.
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import process from "node:process";

/** What is recorded of a test. */
export interface Recorded {
  readonly name: string;
  readonly ms: number;
  /** Ids of the mutants that the test reaches, in code that runs while no test does: for every test of the file. */
  readonly reached: readonly string[];
}

type TestOptions = { name: string; fn: (...args: unknown[]) => unknown; ignore?: boolean };

const { MUTATION_RECORD: recordFile, MUTATION_TESTS: wanted, MUTATION_LEFT_OUT: pattern } = process.env;
const names = wanted ? new Set<string>(JSON.parse(wanted)) : undefined;
const leftOut = new RegExp(pattern ?? "(?!)");
const always = new Set<string>();
const tests: { name: string; ms: number; reached: Set<string> }[] = [];
let reached = always;

/** Called by changed source, in place of Stryker's own counting: hot loops wait for it. */
if (recordFile) {
  Object.assign(globalThis, {
    reach: (...ids: string[]) => {
      for (const id of ids) reached.add(id);
    },
  });
  globalThis.addEventListener("unload", () => {
    const all = tests.map((test) => ({ ...test, reached: [...always.union(test.reached)] }));
    writeFileSync(recordFile, JSON.stringify(all));
  });
}

/** node:test calls `Deno.test` with one object. */
function eachTest({ fn, ...options }: TestOptions): void {
  const { name } = options;
  const timed = async (...args: unknown[]): Promise<unknown> => {
    const started = performance.now();
    reached = new Set();
    try {
      return await fn(...args);
    } finally {
      tests.push({ name, ms: Math.ceil(performance.now() - started), reached });
      reached = always;
    }
  };
  if (recordFile && leftOut.test(name)) tests.push({ name, ms: 0, reached: new Set() });
  const ignore = options.ignore || names?.has(name) === false || leftOut.test(name);
  register({ ...options, ignore, fn: recordFile ? timed : fn });
}

const register = Deno.test as (options: TestOptions) => void;
Object.assign(Deno, { test: Object.assign(eachTest, Deno.test) });

/**
 * Runs a plan: `deno run -A test/mutation/execute.ts dist/mutation/AREA/plan.json [options]`, in the repository's root.
 *
 * A mutant's tests run quickest first, until one fails. Each result is a line of results.jsonl beside the plan, so that
 * a run that was stopped goes on where it was. It needs deno, the installed packages, and no network.
 *
 * Options: `--jobs N` (all cores), `--minutes M` (no end), `--again` (also those that no test noticed), `--file TEXT`
 * (only files whose path has the text), `--out FILE` (in place of results.jsonl).
 *
 * @module
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { keyOf, type Mutant, type Plan, type Result, type Status } from "./plan.ts";
import { makeTree, runTests } from "./tree.ts";

/** Options of a run. */
export interface Options {
  readonly jobs: number;
  readonly minutes: number;
  readonly again: boolean;
  readonly file: string;
  readonly out?: string;
}

/** How the command line says them. */
export const flags = {
  jobs: { type: "string" },
  minutes: { type: "string" },
  again: { type: "boolean" },
  file: { type: "string" },
  out: { type: "string" },
} as const;

/** Options by flags' values. */
export function optionsOf(
  values: { jobs?: string; minutes?: string; again?: boolean; file?: string; out?: string },
): Options {
  return {
    jobs: Number(values.jobs ?? availableParallelism()),
    minutes: Number(values.minutes ?? Infinity),
    again: values.again ?? false,
    file: values.file ?? "",
    out: values.out,
  };
}

/** In a random order that is the same in every run: what a short run has done is a sample of every file. */
function shuffled<T>(items: readonly T[]): T[] {
  const order = [...items];
  let state = 1;
  for (let i = order.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor(state / 2 ** 32 * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

const noticed = (status?: Status): boolean => status === "killed" || status === "timeout";

/** What waits for a process of its own, after the quick tests of all files. */
const slowMs = 1000;

/** A mutant's tests by the process that runs them, the quickest first. */
function processes(plan: Plan, mutant: Mutant): { file: string; names: string[]; ms: number }[] {
  const groups = Map.groupBy(
    mutant.tests.map((test) => plan.tests[test]),
    ({ file, name, ms }) => ms > slowMs ? `${file} ${name}` : file,
  );
  return [...groups.values()].map((tests) => ({
    file: tests[0].file,
    names: tests.map(({ name }) => name),
    ms: tests.reduce((sum, { ms }) => sum + ms, 0),
  })).sort((a, b) => a.ms - b.ms);
}

async function judge(plan: Plan, mutant: Mutant, tree: string): Promise<Result> {
  const key = keyOf(mutant);
  for (const { file, names, ms } of processes(plan, mutant)) {
    const env = { __STRYKER_ACTIVE_MUTANT__: mutant.id, MUTATION_TESTS: JSON.stringify(names) };
    const timeoutMs = 5 * ms + 5000;
    let { outcome } = await runTests(tree, file, env, timeoutMs);
    // A machine may be busy; only what never ends is late twice.
    if (outcome === "timeout") ({ outcome } = await runTests(tree, file, env, 4 * timeoutMs));
    if (outcome !== "passed") return { key, status: outcome === "failed" ? "killed" : "timeout", by: file };
  }
  return { key, status: mutant.tests.length > 0 ? "survived" : "uncovered" };
}

/** The last result of each mutant in a file of results. */
function readResults(path: string): Map<string, Status> {
  if (!existsSync(path)) return new Map();
  const lines = readFileSync(path, "utf8").split("\n").filter((line) => line.endsWith("}"));
  return new Map(lines.map((line) => JSON.parse(line) as Result).map(({ key, status }) => [key, status]));
}

/** Prints what is left, by place, and the counts. */
function report(plan: Plan, results: ReadonlyMap<string, Status>): void {
  const counts = { killed: 0, timeout: 0, survived: 0, uncovered: 0, "not run": 0 };
  for (const mutant of plan.mutants) {
    const status = results.get(keyOf(mutant)) ?? "not run";
    counts[status]++;
    if (status === "survived" || status === "uncovered") console.log(`${status}\t${keyOf(mutant)}`);
  }
  console.log(Object.entries(counts).map(([name, count]) => `${count} ${name}`).join(", "));
  const run = plan.mutants.length - counts["not run"];
  console.log(
    `${plan.area}: ${((counts.killed + counts.timeout) / run * 100).toFixed(1)} % of ${run} noticed`,
  );
}

/** Runs the mutants that have no result yet, and reports. */
export async function execute(planFile: string, { jobs, minutes, again, file, out }: Options): Promise<void> {
  const plan: Plan = JSON.parse(readFileSync(planFile, "utf8"));
  const folder = dirname(planFile), tree = join(folder, "tree");
  const resultsFile = out ?? join(folder, "results.jsonl");
  const results = readResults(resultsFile);
  const waiting = shuffled(plan.mutants).filter((mutant) => {
    const status = results.get(keyOf(mutant));
    return mutant.file.includes(file) && (status === undefined || again && !noticed(status));
  });
  await makeTree(tree, join(folder, "source"));
  const end = Date.now() + minutes * 60000, total = waiting.length;
  await Promise.all(Array.from({ length: jobs }, async () => {
    while (Date.now() < end) {
      const mutant = waiting.shift();
      if (!mutant) return;
      const result = await judge(plan, mutant, tree);
      appendFileSync(resultsFile, `${JSON.stringify(result)}\n`);
      results.set(result.key, result.status);
      const done = total - waiting.length;
      if (done % 100 === 0) console.error(`${done} of ${total}`);
    }
  }));
  report(plan, results);
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({ options: flags, allowPositionals: true });
  await execute(positionals[0], optionsOf(values));
}

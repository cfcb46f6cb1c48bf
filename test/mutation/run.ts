/**
 * Mutation testing: changes the code of an area, one small fault at a time, and counts the faults that its tests notice.
 * `deno task mutate AREA [options]` takes minutes to an hour, and is no part of CI. Options are those of execute.ts, and
 * `--plan`: write the plan only.
 *
 * Stryker's instrumenter writes all faults into one copy of the source, each behind a switch. Every test file runs once
 * with none switched on, and says which it reaches; then a fault meets only the tests that reach it. Those that no test
 * notices are printed; test/mutation/SURVIVORS.md explains the ones that change nothing a test could see.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { type Area, areas } from "./areas.ts";
import { execute, flags, optionsOf } from "./execute.ts";
import type { Recorded } from "./preload.ts";
import type { Mutant, Plan, Test } from "./plan.ts";
import { makeTree, runTests } from "./tree.ts";

/** A dependency of this command alone: a name that Deno does not see keeps it out of deno.lock. */
const instrumenter: string = "npm:@stryker-mutator/instrumenter@9.6.1";

/** What is used of its types. */
interface Stryker {
  readonly Instrumenter: new (log: unknown) => {
    instrument(
      files: readonly { readonly name: string; readonly mutate: boolean; readonly content: string }[],
      options: object,
    ): Promise<{ files: { name: string; content: string }[]; mutants: Found[] }>;
  };
}

interface Found {
  readonly id: string;
  readonly fileName: string;
  readonly mutatorName: string;
  readonly replacement: string;
  /** Lines and columns from 0. */
  readonly location: Record<"start" | "end", { readonly line: number; readonly column: number }>;
  /** Set where it was left out. */
  readonly status?: string;
}

/** Stryker's count of what is reached, which every run would wait for; and its place in a run that asks for none. */
const coverHelper = /^function stryCov_9fa48\(\) \{$.*?^\}$/ms;
const quickCover = "const stryCov_9fa48 = globalThis.reach ?? (() => {});";

/** A pattern that nothing matches. */
const none = "(?!)";
/** For how long a test is taken that is not timed. */
const slowMs = 30_000;

const oneLine = (text: string): string => text.replace(/\s+/g, " ").slice(0, 160);

function originalText(lines: readonly string[], { start, end }: Found["location"]): string {
  if (start.line === end.line) return lines[start.line].slice(start.column, end.column);
  return [lines[start.line].slice(start.column), ...lines.slice(start.line + 1, end.line)].join(" ");
}

/** Writes an area's source with every fault in it, and returns the faults. */
async function instrument(area: Area, source: string): Promise<Omit<Mutant, "tests">[]> {
  const names = (await readdir(area.folder, { recursive: true })).filter((name) => name.endsWith(".ts"))
    .sort();
  const files = await Promise.all(names.map(async (name) => {
    const path = `${area.folder}/${name}`;
    return { name: path, mutate: true, content: await readFile(path, "utf8") };
  }));
  const { Instrumenter }: Stryker = await import(instrumenter);
  const log = new Proxy({}, { get: () => () => false });
  // Messages are prose: their words are no behaviour.
  const options = { excludedMutations: ["StringLiteral"], ignorers: [], plugins: null };
  const made = await new Instrumenter(log).instrument(files, options);
  await rm(source, { recursive: true, force: true });
  for (const { name, content } of made.files) {
    await mkdir(join(source, dirname(name)), { recursive: true });
    await writeFile(join(source, name), `// @ts-nocheck\n${content.replace(coverHelper, quickCover)}`);
  }
  const lines = new Map(files.map(({ name, content }) => [name, content.split("\n")]));
  return made.mutants.filter(({ status }) => status === undefined).map((found) => ({
    id: found.id,
    file: found.fileName,
    line: found.location.start.line + 1,
    column: found.location.start.column + 1,
    mutator: found.mutatorName,
    original: oneLine(originalText(lines.get(found.fileName)!, found.location)),
    replacement: oneLine(found.replacement),
  }));
}

/** Runs an area's tests with no fault: how long each takes, and the ids it reaches. */
async function dryRun(
  area: Area,
  { folder, found }: { readonly folder: string; readonly found: readonly Omit<Mutant, "tests">[] },
): Promise<(Test & { readonly reached: Set<string> })[]> {
  const { slow } = area;
  const below = found.filter(({ file }) => slow && file.startsWith(slow.reach)).map(({ id }) => id);
  const tree = join(folder, "tree"), record = resolve(folder, "reached.json");
  await makeTree(tree, join(folder, "source"));
  const measured = [];
  for (const file of area.tests.map((name) => `test/${name}_test.ts`)) {
    const { outcome, printed } = await runTests(tree, file, {
      MUTATION_RECORD: record,
      MUTATION_LEFT_OUT: slow?.tests.source ?? none,
    });
    if (outcome !== "passed") throw new Error(`Cannot plan with ${file}: it fails\n${printed}`);
    const tests: readonly Recorded[] = JSON.parse(await readFile(record, "utf8"));
    const ms = tests.reduce((sum, test) => sum + test.ms, 0);
    console.error(`${file}: ${ms} ms, reaches ${new Set(tests.flatMap(({ reached }) => reached)).size}`);
    measured.push(
      ...tests.map(({ name, ms, reached }) =>
        slow?.tests.test(name)
          ? { file, name, ms: slowMs, reached: new Set(below) }
          : { file, name, ms, reached: new Set(reached) }
      ),
    );
  }
  return measured;
}

const { values, positionals: [name] } = parseArgs({
  options: { ...flags, plan: { type: "boolean" } },
  allowPositionals: true,
});
if (!Object.hasOwn(areas, name ?? "")) {
  console.error(`Cannot mutate area "${name ?? ""}": it must be ${Object.keys(areas).join(", ")}`);
  process.exit(2);
}
const folder = `dist/mutation/${name}`, planFile = `${folder}/plan.json`;
if (!existsSync(folder)) await mkdir(folder, { recursive: true });
const found = await instrument(areas[name], `${folder}/source`);
const measured = await dryRun(areas[name], { folder, found });
const plan: Plan = {
  area: name,
  tests: measured.map(({ file, name, ms }) => ({ file, name, ms })),
  mutants: found.map((mutant) => ({
    ...mutant,
    tests: measured.flatMap(({ reached }, i) => reached.has(mutant.id) ? [i] : []),
  })),
};
await writeFile(planFile, JSON.stringify(plan));
if (!values.plan) await execute(planFile, optionsOf(values));

/**
 * Mutation testing: changes the code of an area, one small fault at a time, and counts the faults that its tests notice.
 * `deno task mutate AREA [FILE...]`; it takes minutes to hours, and is no part of CI.
 *
 * Stryker makes the faults and runs the area's tests once for each. What no test notices is printed, and stands in
 * dist/mutation/AREA.html; test/mutation/SURVIVORS.md explains the ones that change nothing a test could see.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import process from "node:process";
import { areas } from "./areas.ts";

const stryker = "@stryker-mutator/core@9.6.1";

const [name, ...files] = process.argv.slice(2);
const area = areas[name];
if (!area) {
  console.error(`Cannot mutate area "${name ?? ""}": it must be ${Object.keys(areas).join(", ")}`);
  process.exit(2);
}

await mkdir("dist/mutation", { recursive: true });
const config = `dist/mutation/${name}.json`;
await writeFile(
  config,
  JSON.stringify({
    testRunner: "command",
    commandRunner: {
      command: `"${process.execPath}" test -A --no-check --no-lock --fail-fast ${area.tests.join(" ")}`,
    },
    mutate: files.length > 0 ? files : area.mutate,
    // Messages are prose: their words are no behaviour.
    mutator: { excludedMutations: ["StringLiteral"] },
    ignorePatterns: ["bench", "dist", ".gpu-host", ".git"],
    reporters: ["clear-text", "html", "json", "progress-append-only"],
    clearTextReporter: { allowColor: false, reportTests: false },
    htmlReporter: { fileName: `dist/mutation/${name}.html` },
    jsonReporter: { fileName: `dist/mutation/${name}.report.json` },
    concurrency: availableParallelism(),
    timeoutMS: 20000,
    tempDirName: "dist/stryker",
    checkers: [],
    plugins: [],
    allowEmpty: false,
  }),
);
const child = spawn("npx", ["--yes", "-p", stryker, "stryker", "run", config], { stdio: "inherit" });
child.on("close", (code) => process.exitCode = code ?? 1);

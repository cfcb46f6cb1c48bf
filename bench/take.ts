/**
 * Takes in what was measured elsewhere: `bench/run.ts --out FILE` writes it there, and this adds it to the machine's
 * recording among the results.
 *
 *     deno run -A bench/take.ts FILE ...
 *
 * @module
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { type Recording, recordingFile, saveRun } from "./results.ts";

for (const path of process.argv.slice(2)) {
  const { machine, runs }: Recording = JSON.parse(readFileSync(path, "utf8"));
  for (const run of runs) {
    if (run.quick) throw new Error(`Cannot take in ${path}: bench "${run.bench}" was run with --quick`);
    saveRun(recordingFile(machine.name, false), machine, run);
  }
  console.log(`${path}: ${runs.length} runs of ${machine.name}`);
}

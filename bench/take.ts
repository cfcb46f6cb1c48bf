/**
 * Takes in what was measured elsewhere: `bench/run.ts --out FILE` writes it there, and this adds it to the machine's
 * recording among the results. Parts of one bench, each measured by a process of its own, become one run.
 *
 *     deno run -A bench/take.ts FILE ...
 *
 * @module
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { type Recording, recordingFile, type Run, saveRun } from "./results.ts";

/** Runs by what they were run with. */
const taken = new Map<string, { readonly machine: Recording["machine"]; readonly run: Run }>();
for (const path of process.argv.slice(2)) {
  const { machine, runs }: Recording = JSON.parse(readFileSync(path, "utf8"));
  for (const { measurements, ...how } of runs) {
    if (how.quick) throw new Error(`Cannot take in ${path}: bench "${how.bench}" was run with --quick`);
    const key = JSON.stringify([machine, how]), before = taken.get(key)?.run.measurements ?? [];
    taken.set(key, { machine, run: { ...how, measurements: [...before, ...measurements] } });
  }
}
for (const { machine, run } of taken.values()) {
  saveRun(recordingFile(machine.name, false), machine, run);
  console.log(`${machine.name}, ${run.bench}: ${run.measurements.length} figures by ${run.command}`);
}

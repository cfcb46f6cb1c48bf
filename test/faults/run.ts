/**
 * Faults, each some times: nothing may be lost, and no answer wrong. `deno task faults [RUNS] [NAME...]`; 20 runs of each
 * by default.
 *
 * A run makes a fault under requests. Each answer is compared with that of an undisturbed server, or is a status that says
 * what is wrong. Requests that were refused are asked again when the fault is over, and must be right: but where the
 * server is gone. The table counts both. Whatever else happens ends the runs of that fault, and the exit code is 1.
 *
 * Each run has a process of its own. Deno frees the objects of lost GPUs in a time that grows with the square of their number,
 * and those of many runs add up.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { vulkanEnvironment } from "../swiftshader.ts";
import { diskIsFull, publisherIsKilled, serverIsStopped, trainerIsKilled } from "./processes.ts";
import { clientsLeave, gpuGoes, threadsEnd } from "./serving.ts";
import {
  adaptersAreReplaced,
  clockJumps,
  objectsAreChanged,
  objectsAreCut,
  storeFails,
  storeIsSlow,
} from "./store.ts";
import type { Tally } from "./world.ts";

const faults: Readonly<
  Record<string, { readonly what: string; readonly run: (seed: number) => Promise<Tally> }>
> = {
  "publisher-killed": { what: "kill -9 amid a publication into a store", run: publisherIsKilled },
  "trainer-killed": { what: "kill -9 amid a publication into a folder", run: trainerIsKilled },
  "store-fails": { what: "3 of 10 calls of the store fail", run: storeFails },
  "store-slow": { what: "calls of the store are slow, or too late", run: storeIsSlow },
  "objects-cut": { what: "4 of 10 objects are read cut short", run: objectsAreCut },
  "objects-changed": { what: "4 of 10 objects are read with another bit", run: objectsAreChanged },
  replaced: { what: "24 replacements of adapters in use", run: adaptersAreReplaced },
  "threads-end": { what: "the CPU device's threads end under 16 requests", run: threadsEnd },
  "gpu-destroyed": { what: "a GPU is destroyed under 16 requests", run: gpuGoes },
  "clients-leave": { what: "16 of 32 clients leave amid their streams", run: clientsLeave },
  sigterm: { what: "SIGTERM under 8 clients", run: serverIsStopped },
  "disk-full": { what: "a full file system amid a publication", run: diskIsFull },
  clock: { what: "the clock jumps by up to a year", run: clockJumps },
};

// A GPU's driver is found by what the environment says when a process starts.
const env = { ...process.env, ...vulkanEnvironment() };

/** What a run counted; undefined where it showed a fault of ours, which the run's process has told. */
function tallyOf(name: string, seed: number): Tally | undefined {
  const run = ["run", "-A", "--no-check", "--unstable-no-legacy-abort", fileURLToPath(import.meta.url)];
  const { status, stdout } = spawnSync(process.execPath, [...run, String(seed)], {
    stdio: ["inherit", "pipe", "inherit"],
    env: { ...env, FOURIERFT_FAULT: name },
    encoding: "utf8",
  });
  return status === 0 ? JSON.parse(stdout) as Tally : undefined;
}

/** All runs of a fault as a row of the table; undefined where one showed a fault of ours. */
function row(name: string, runs: number): string | undefined {
  const begin = performance.now();
  let right = 0, refused = 0;
  for (let seed = 1; seed <= runs; seed++) {
    const tally = tallyOf(name, seed);
    if (!tally) {
      console.error(`${name}: run ${seed} failed`);
      return undefined;
    }
    right += tally.right;
    refused += tally.refused;
  }
  const seconds = (performance.now() - begin) / 1000;
  console.error(`${name}: ${runs} runs in ${seconds.toFixed(0)} s`);
  return `| ${faults[name].what} | ${runs} | ${right} | ${refused} | 0 | 0 |`;
}

function main(): number {
  const [count, ...given] = process.argv.slice(2), runs = Number(count ?? 20);
  const unknown = given.find((name) => !Object.hasOwn(faults, name));
  if (unknown !== undefined || !(runs >= 1)) {
    console.error(`Cannot run ${unknown ?? count}: faults are ${Object.keys(faults).join(", ")}`);
    return 1;
  }
  const rows: string[] = [];
  let failed = 0;
  for (const name of given.length > 0 ? given : Object.keys(faults)) {
    const found = row(name, runs);
    if (found === undefined) failed++;
    else rows.push(found);
  }
  console.log("| fault | runs | right answers | refused | wrong | lost |");
  console.log("| --- | --: | --: | --: | --: | --: |");
  for (const line of rows) console.log(line);
  console.log(`${rows.length} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

const { FOURIERFT_FAULT: asked } = process.env;
if (asked) {
  console.log(JSON.stringify(await faults[asked].run(Number(process.argv[2]))));
  process.exit(0);
}
process.exit(main());

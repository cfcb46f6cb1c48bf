/**
 * The CPU device with WASM, on one thread and on all, beside the same device without relaxed SIMD and in TypeScript.
 *
 *     deno task bench:cpu [--rounds N] [--threads 1,2,...] [--peers PYTHON] [--llama FOLDER] [--rows TEXT]
 *
 * `--threads` compares numbers of threads. Peers are measured in the same run, each in its turn, with as many threads.
 * `--peers` is a Python that has torch, transformers and peft. `--llama` is a folder in which `npm install node-llama-cpp`
 * was run; llama.cpp reads our weights from the files of cpu_gguf.ts. With a peer the figures are recorded. `--rows` is a
 * regular expression for the rows to measure.
 *
 * @module
 */
import { availableParallelism, cpus, loadavg } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { wasmBytes } from "../kernels/wasm_bytes.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { openCpuDevice } from "../src/runtime/open_cpu.ts";
import { makeGguf } from "./cpu_gguf.ts";
import { measures } from "./cpu_measures.ts";
import { type Entrant, fastest, llamaCpp, own, ratio, torch } from "./cpu_entrants.ts";
import { machineOf } from "./machine.ts";
import { type Measurement, median } from "./measurement.ts";
import { recordingFile, saveRun, today } from "./results.ts";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    threads: { type: "string" },
    peers: { type: "string" },
    llama: { type: "string" },
    rows: { type: "string", default: "" },
  },
});
const rounds = Number(options.rounds), wanted = new RegExp(options.rows);
const hasPeers = options.peers !== undefined || options.llama !== undefined;
const counts = options.threads?.split(",").map(Number) ??
  (hasPeers ? [1, availableParallelism()] : undefined);

/** Every kind of CPU device, or those of so many threads where numbers are given. */
async function openDevices(): Promise<Device[]> {
  if (counts) return await Promise.all(counts.map((threads) => openCpuDevice({ threads })));
  return [
    cpuDevice(),
    await openCpuDevice({ threads: 1 }),
    await openCpuDevice(),
    cpuDevice({ wasm: new WebAssembly.Module(wasmBytes()) }),
    cpuDevice({ wasm: false }),
  ];
}

async function openEntrants(devices: readonly Device[]): Promise<Entrant[]> {
  const entrants: Entrant[] = [];
  for (const [i, device] of devices.entries()) {
    entrants.push(own(device, { threads: counts?.[i], measures: await measures(device) }));
  }
  if (options.llama !== undefined) await makeGguf();
  for (const threads of counts ?? []) {
    if (options.llama !== undefined) entrants.push(await llamaCpp(options.llama, threads));
    if (options.peers !== undefined) entrants.push(await torch(options.peers, threads));
  }
  return entrants;
}

/** A row's figures by entrant, taken in turn: a slow moment of the machine hits all alike. */
async function measureRow(row: string, entrants: readonly Entrant[]): Promise<Map<Entrant, number[]>> {
  const results = new Map(
    entrants.filter(({ measures }) => measures[row]).map((one) => [one, [] as number[]]),
  );
  for (const { measures } of results.keys()) await measures[row]();
  for (let round = 0; round < rounds; round++) {
    for (const [{ measures }, values] of results) values.push(await measures[row]());
  }
  return results;
}

/**
 * The cells of a row: the best of each entrant, and how it compares with ours at equal threads. Other work on the machine
 * makes figures worse alone.
 */
function cellsOf(row: string, results: ReadonlyMap<Entrant, readonly number[]>): Measurement[] {
  const note = "The best of each; `ours to` is how many times as good ours is.";
  const cell = { table: "cpu", row, unit: "", runs: rounds, note };
  const figures = [...results].map(([{ name }, values]): Measurement => {
    const [minimum, slowest] = [Math.min(...values), Math.max(...values)];
    return { ...cell, column: name, median: fastest(row, values), minimum, slowest };
  });
  const ratios = [...results].flatMap(([entrant, values]) => {
    const ours = [...results].find(([{ isPeer, threads }]) => !isPeer && threads === entrant.threads);
    if (!entrant.isPeer || !ours) return [];
    const speed = ratio(row, fastest(row, ours[1]), fastest(row, values));
    return [{ ...cell, column: `ours to ${entrant.name}`, median: speed }];
  });
  return [...figures, ...ratios];
}

const load = (): string => loadavg()[0].toFixed(1);

const devices = await openDevices(), entrants = await openEntrants(devices), before = load();
const names = Object.keys(entrants[0].measures);
const unknown = entrants.flatMap(({ measures }) => Object.keys(measures)).find((name) =>
  !names.includes(name)
);
if (unknown !== undefined) throw new Error(`Cannot compare "${unknown}": the CPU device is not measured so`);
console.log(`${cpus()[0].model}, ${availableParallelism()} processors; load ${before} before`);
for (const [i, { name }] of entrants.entries()) console.log(`[${i + 1}] ${name}`);
console.log(
  `median of ${rounds} (least to most)`.padEnd(68),
  ...entrants.map((_, i) => `[${i + 1}]`.padEnd(26)),
);
const recorded: Measurement[] = [];
for (const row of names.filter((name) => wanted.test(name))) {
  const results = await measureRow(row, entrants);
  const cells = entrants.map((one) => {
    const values = results.get(one);
    if (!values) return "-".padEnd(26);
    const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => value.toPrecision(4));
    return `${median(values).toPrecision(4)} (${least} to ${most})`.padEnd(26);
  });
  console.log(row.padEnd(68), ...cells);
  recorded.push(...cellsOf(row, results));
  if (!hasPeers) continue;
  // After each row: a call may be cut off.
  const { machine, versions } = machineOf(devices[0]);
  saveRun(recordingFile(machine.name, false), machine, {
    bench: "cpu",
    command: `deno task bench:cpu --rounds ${rounds}${
      options.threads ? ` --threads ${options.threads}` : ""
    }${options.peers ? " --peers PYTHON" : ""}${options.llama ? " --llama FOLDER" : ""}`,
    date: today(),
    // Columns have the threads.
    versions: Object.assign({}, ...entrants.map(({ versions }) => versions), {
      ...versions,
      device: versions.device.replace(/, (one thread|\d+ threads) of its own/, ""),
    }),
    clock: "wall time",
    quick: false,
    note: `load ${before} to ${load()}`,
    measurements: recorded,
  });
}
console.log(`load ${load()} after`);
for (const { close } of entrants) close();
process.exit(0);

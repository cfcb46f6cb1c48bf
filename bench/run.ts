/**
 * Runs benches on this machine: `deno task bench:NAME`, or `deno task bench` for all.
 *
 *     deno run -A bench/run.ts [NAME ...] [--quick] [--device auto|webgpu|cpu] [--software] [--python PATH] [--out FILE]
 *
 * What is measured is printed and kept in `bench/results/MACHINE.json` (a quick run's in `dist/bench/`); `deno task
 * bench:report` makes RESULTS.md's tables and plots of it. With a Python, peers are measured in the same call.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import process from "node:process";
import { parseArgs } from "node:util";
import { vulkanEnvironment } from "../test/swiftshader.ts";
import { benches } from "./benches.ts";
import type { Bench, Measurement } from "./measurement.ts";
import { type OpenBenchDevice, openBenchDevice } from "./machine.ts";
import { measurePeer } from "./peers.ts";
import { type Recording, recordingFile, saveRun, today, versionsLine } from "./results.ts";
import { formatCell } from "./table.ts";
import { clockOf } from "./timer.ts";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    device: { type: "string", default: "auto" },
    software: { type: "boolean", default: false },
    python: { type: "string" },
    out: { type: "string" },
  },
});

function chosen(): readonly Bench[] {
  const unknown = positionals.find((name) => !benches.some((bench) => bench.name === name));
  if (unknown !== undefined) {
    const known = benches.map(({ name, doc }) => `\n  ${name.padEnd(16)} ${doc}`).join("");
    console.error(`Cannot run bench "${unknown}": there are${known}`);
    process.exit(2);
  }
  return positionals.length === 0 ? benches : benches.filter(({ name }) => positionals.includes(name));
}

/** The same command in a process that finds the software Vulkan driver: it is looked for once, at the start. */
function runOnSoftware(): never {
  const args = process.argv.slice(2).filter((arg) => arg !== "--software");
  const env = { ...process.env, ...vulkanEnvironment() };
  const command = ["run", "-A", process.argv[1], ...args, "--quick", "--device", "webgpu"];
  process.exit(spawnSync(process.execPath, command, { stdio: "inherit", env }).status ?? 1);
}

function print({ table, row, column, unit, median, minimum, slowest }: Measurement): void {
  const range = minimum !== undefined && slowest !== undefined
    ? ` (${formatCell(minimum)} to ${formatCell(slowest)})`
    : "";
  console.log(`${table.padEnd(16)} ${row.padEnd(52)} ${column}: ${formatCell(median)} ${unit}${range}`);
}

async function runBench(bench: Bench, { device, quick, machine, versions }: OpenBenchDevice): Promise<void> {
  const target = options.out ?? recordingFile(machine.name, quick);
  const command = `deno task bench:${bench.name}${quick ? " --quick" : ""}`;
  const run = { bench: bench.name, date: today(), quick };
  const save = (rest: Omit<Recording["runs"][number], keyof typeof run>): void =>
    saveRun(target, machine, { ...run, ...rest });
  const measurements: Measurement[] = [];
  for await (const measurement of bench.measure({ device, quick, log: console.log })) {
    print(measurement);
    measurements.push(measurement);
  }
  save({ command, versions, clock: clockOf(device), measurements });
  if (!options.python) return;
  for (const peer of bench.peers ?? []) {
    const { command, versions, clock, measurements } = await measurePeer(options.python, peer, {
      quick,
      cpu: device.kind === "cpu",
    });
    measurements.forEach(print);
    save({ command, versions, clock, measurements });
  }
}

const selected = chosen();
if (options.software) runOnSoftware();
const opened = await openBenchDevice({
  kind: options.device as "auto" | "webgpu" | "cpu",
  quick: options.quick,
});
console.log(
  `${opened.machine.name}; ${versionsLine(opened.versions)}`,
);
if (opened.quick) {
  console.log("quick: small sizes and few runs; these figures say nothing of a machine's speed");
}
if (clockOf(opened.device) === "wall time") console.log("no timestamps on this device: times are wall time");
for (const bench of selected) {
  if (bench.gpuOnly && opened.device.kind === "cpu") console.log(`left out: ${bench.name}: it needs a GPU`);
  else await runBench(bench, opened);
}
opened.device.destroy();
process.exit(0);

/**
 * Runs benches on this machine: `deno task bench:NAME`, or `deno task bench` for all.
 *
 *     deno run -A bench/run.ts [NAME ...] [--quick] [--device auto|webgpu|cpu] [--matrix-units] [--software]
 *         [--python PATH] [--out FILE] [--rows TEXT]
 *         [--rounds N] [--note TEXT] [--trace]
 *
 * `--rows` is a regular expression: of benches that take long, the rows whose names match are measured alone. `--rounds`
 * is how often such benches take their turns. `--trace` shows the launches of decode-methods, too. `--note` is kept with
 * what is measured, and stands under its tables. `bench/take.ts` takes in what another machine's `--out` has.
 *
 * Measurements are printed and kept in `bench/results/MACHINE.json` (a quick run's in `dist/bench/`); `deno task
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
import { recordingFile, type Run, saveRun, today, versionsLine } from "./results.ts";
import { formatCell } from "./table.ts";
import { clockOf } from "./timer.ts";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    device: { type: "string", default: "auto" },
    "matrix-units": { type: "boolean", default: false },
    software: { type: "boolean", default: false },
    python: { type: "string" },
    out: { type: "string" },
    rows: { type: "string" },
    rounds: { type: "string" },
    note: { type: "string" },
    trace: { type: "boolean", default: false },
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

/** Measurements as they come, each in the recording before the next is taken: a call may be cut off. */
async function keep(
  measurements: AsyncIterable<Measurement> | Iterable<Measurement>,
  { quick, machine }: OpenBenchDevice,
  run: Omit<Run, "date" | "quick" | "measurements">,
): Promise<void> {
  const file = options.out ?? recordingFile(machine.name, quick);
  const kept: Measurement[] = [];
  for await (const measurement of measurements) {
    print(measurement);
    kept.push(measurement);
    saveRun(file, machine, { ...run, date: today(), quick, note: options.note, measurements: kept });
  }
}

async function runBench({ name, measure, clock }: Bench, opened: OpenBenchDevice): Promise<void> {
  const { device, quick, versions } = opened;
  const command = `deno task bench:${name}${quick ? " --quick" : ""}${
    device.kind === "cpu" ? " --device cpu" : options["matrix-units"] ? " --matrix-units" : ""
  }`;
  const { rows, trace } = options;
  const measurements = measure({ device, quick, log: console.log, rows, rounds, trace });
  await keep(measurements, opened, { bench: name, command, versions, clock: clock ?? clockOf(device) });
}

async function runPeer(file: string, bench: string, opened: OpenBenchDevice): Promise<void> {
  const { device, quick } = opened;
  const { measurements, ...run } = measurePeer(options.python!, file, {
    ...{ quick, cpu: device.kind === "cpu", rows: options.rows, rounds },
  });
  await keep(measurements, opened, { bench, ...run });
}

/** One that fails is told of, and the others go on. */
async function orFail(what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    console.error(`FAILED ${what}: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}

/** The number of `--rounds`; undefined where a bench has its own. */
function roundsOf(text: string | undefined): number | undefined {
  if (text === undefined || /^[1-9]\d{0,3}$/.test(text)) return text === undefined ? undefined : Number(text);
  console.error(`Cannot take --rounds "${text}": it must be a whole number from 1 to 9999`);
  process.exit(2);
}

const selected = chosen();
const rounds = roundsOf(options.rounds);
if (options.software) runOnSoftware();
const kind = (["auto", "webgpu", "cpu"] as const).find((known) => known === options.device);
if (!kind) throw new RangeError(`Cannot bench on device "${options.device}": it must be auto, webgpu or cpu`);
const opened = await openBenchDevice({ kind, quick: options.quick, matrixUnits: options["matrix-units"] });
console.log(`${opened.machine.name}; ${versionsLine(opened.versions)}`);
if (opened.quick) {
  console.log("quick: small sizes and few runs; these figures say nothing of a machine's speed");
}
if (clockOf(opened.device) === "wall time") console.log("no timestamps on this device: times are wall time");
for (const bench of selected) {
  if (bench.gpuOnly && opened.device.kind === "cpu") {
    console.log(`left out: ${bench.name}: it needs a GPU`);
    continue;
  }
  const missing = bench.missing?.();
  if (missing !== undefined) {
    console.log(`left out: ${bench.name}: ${missing}`);
    continue;
  }
  await orFail(bench.name, () => runBench(bench, opened));
  for (const file of options.python ? bench.peers ?? [] : []) {
    await orFail(file, () => runPeer(file, bench.name, opened));
  }
}
opened.device.destroy();
process.exit();

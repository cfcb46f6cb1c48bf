/**
 * Where a step's time goes: its launches, added up by kernel and sizes.
 *
 * @module
 */
import { launchTimes } from "../src/cli/trace.ts";
import type { Device, Trace } from "../src/device/device.ts";
import type { GpuStep } from "../src/device/join.ts";
import { GpuProgram } from "../src/device/webgpu_launcher.ts";
import type { MeteredProgram } from "./host_meter.ts";
import { type Measurement, median } from "./measurement.ts";

const rounds = 7;

/** Words that differ between layers, or are the same for all of a step's launches, or do not change the work. */
const untold = [
  ...["rows", "linear", "capacity", "cacheRows", "accumulate"],
  ...["skipped", "skipped1", "skipped2", "scale_in", "scale_linear", "scale_capacity", "slice_size"],
];

/** A kernel with its sizes, and with the dtype of its weight. */
function nameOf({ kernel, uniforms, buffers }: GpuStep): string {
  const sizes = Object.entries(uniforms)
    .filter(([name, value]) => kernel.uniforms[name] === "u32" && !untold.includes(name) && value > 0)
    .map(([name, value]) => `${name} ${value}`);
  const dtype = buffers.weight && sizes.length > 0 ? [buffers.weight.dtype] : [];
  return [kernel.name, ...sizes, ...dtype].join(", ");
}

/** The name of every launch of a plan's program: on a GPU a step may take several. */
function launchNames({ program, plan }: MeteredProgram): string[] {
  return program instanceof GpuProgram
    ? program.dispatches.map(({ step }) => nameOf(step))
    : plan.map(nameOf);
}

interface Sum {
  launches: number;
  us: number;
}

/** Each launch's median over the rounds, by name, the longest first. */
function sums(names: readonly string[], timed: readonly (readonly number[])[]): [string, Sum][] {
  const found = new Map<string, Sum>();
  names.forEach((name, i) => {
    const { launches, us } = found.get(name) ?? { launches: 0, us: 0 };
    found.set(name, { launches: launches + 1, us: us + median(timed.map((times) => times[i])) });
  });
  return [...found].toSorted(([, a], [, b]) => b.us - a.us);
}

/** Microseconds of a program in one pass, by the device's own clock. */
export async function onePassUs(device: Device, { program }: MeteredProgram): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) times.push((await device.trace(program)).wholeUs);
  return median(times);
}

/** The cells of a program's trace in a table; `of` says which step it is. */
export async function* traceCells(
  device: Device,
  metered: MeteredProgram,
  { table, of }: { readonly table: string; readonly of: string },
): AsyncGenerator<Measurement> {
  const traces: Trace[] = [];
  for (let round = 0; round < rounds; round++) traces.push(await device.trace(metered.program));
  const named = launchNames(metered);
  const kernels = traces[0].launches.map(({ kernel }) => kernel);
  // A step prepared alone may be run in another way, in more launches or fewer.
  const names = named.length === kernels.length ? named : kernels;
  const timed = traces.map(launchTimes);
  const rows = sums(names, timed.map((lines) => lines.map(({ us }) => us)));
  const totalUs = rows.reduce((total, [, { us }]) => total + us, 0);
  const place = (row: string) => ({ table, row: `${of}: ${row}` });
  for (const [name, { launches, us }] of rows) {
    yield { ...place(name), column: "launches", unit: "", median: launches };
    yield { ...place(name), column: "each", unit: "us", median: us / launches };
    yield { ...place(name), column: "together", unit: "us", median: us };
    yield { ...place(name), column: "of all launches", unit: "%", median: 100 * us / totalUs };
  }
  const gapsUs = timed.map((lines) => lines.reduce((total, { gapUs }) => total + gapUs, 0));
  const together = { column: "together", unit: "us" };
  yield { ...place("all launches"), column: "launches", unit: "", median: names.length };
  yield { ...place("all launches"), ...together, median: totalUs };
  yield { ...place("gaps between them"), ...together, median: median(gapsUs) };
  const note = "Launches in passes of their own; the step as it is run, in one pass, has fewer gaps.";
  yield { ...place("the step in one pass"), ...together, median: median(traces.map((t) => t.wholeUs)), note };
}

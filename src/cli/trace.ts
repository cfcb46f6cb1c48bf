/**
 * A step's launches as a table for people: each one, then sums by kernel.
 *
 * @module
 */
import type { Trace, TracedLaunch } from "../device/device.ts";

/** A launch's own time and the gap before it. Passes may overlap a little: a launch counts from where the last one ended. */
export interface LaunchTime {
  readonly launch: TracedLaunch;
  readonly us: number;
  readonly gapUs: number;
}

/** The times of a trace's launches, in order. */
export function launchTimes({ launches }: Trace): LaunchTime[] {
  let end = launches[0]?.beginUs ?? 0;
  return launches.map((launch) => {
    const begin = Math.max(launch.beginUs, end);
    const line = { launch, us: Math.max(0, launch.endUs - begin), gapUs: begin - end };
    end = Math.max(end, launch.endUs);
    return line;
  });
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const column = (value: number): string => value.toFixed(1).padStart(10);
const gridText = ({ grid }: TracedLaunch): string =>
  grid ? grid.slice(0, grid[2] > 1 ? 3 : 2).join(" x ") : "";

function row({ launch, us, gapUs }: LaunchTime, i: number): string {
  return `${`${i + 1}`.padStart(4)}  ${launch.kernel.padEnd(24)}${gridText(launch).padEnd(14)}${column(us)}${
    column(gapUs)
  }`;
}

/** Launches and time of each kernel, the longest first. */
function kernelRows(all: readonly LaunchTime[]): string[] {
  const kernels = new Map<string, { count: number; us: number }>();
  for (const { launch: { kernel }, us } of all) {
    const known = kernels.get(kernel) ?? { count: 0, us: 0 };
    kernels.set(kernel, { count: known.count + 1, us: known.us + us });
  }
  const totalUs = sum(all.map(({ us }) => us));
  return [...kernels].toSorted(([, a], [, b]) => b.us - a.us).map(([kernel, { count, us }]) => {
    const share = `${(100 * us / totalUs).toFixed(1)} %`.padStart(10);
    return `      ${kernel.padEnd(24)}${`${count}`.padEnd(14)}${column(us)}${share}`;
  });
}

/** The whole table of a trace made on a device. */
export function traceTable(trace: Trace, device: string): string {
  const all = launchTimes(trace);
  const clock = trace.clock === "gpu"
    ? "GPU timestamps, each launch in a pass of its own"
    : "the host's clock";
  return [
    `The last step on ${device}, by ${clock}:`,
    "",
    `   #  ${"kernel".padEnd(24)}${"grid".padEnd(14)}${"us".padStart(10)}${"gap us".padStart(10)}`,
    ...all.map(row),
    "",
    `      ${"kernel".padEnd(24)}${"launches".padEnd(14)}${"us".padStart(10)}${"share".padStart(10)}`,
    ...kernelRows(all),
    `      ${"all".padEnd(24)}${`${all.length}`.padEnd(14)}${column(sum(all.map(({ us }) => us)))}`,
    `      ${"gaps".padEnd(24)}${"".padEnd(14)}${column(sum(all.map(({ gapUs }) => gapUs)))}`,
    `      ${"the step in one pass".padEnd(24)}${"".padEnd(14)}${column(trace.wholeUs)}`,
  ].join("\n");
}

/**
 * Times programs on any device: GPU time by timestamp queries where the device has them, wall time elsewhere.
 *
 * @module
 */
import type { Device, Program } from "../src/device/device.ts";
import type { WebGpuDevice } from "../src/device/webgpu.ts";
import { median } from "./measurement.ts";
import { timePasses } from "./pass_timer.ts";

/** Microseconds of one run. */
export interface Timing {
  /**
   * One of many runs in one pass, each waiting for the one before where they share an output: what a step of a plan
   * costs. Of wall time where the device has no timestamps. The median of the attempts' medians.
   */
  readonly medianUs: number;
  /** The best and the slowest attempt. */
  readonly minimumUs: number;
  readonly slowestUs: number;
  /** Timed runs in all. */
  readonly runs: number;
  /** GPU time of one run in a pass of its own, the pass and its timestamps included; only by timestamps. */
  readonly aloneUs?: number;
  /** Wall time of one submitted run, over many submitted together. */
  readonly wallUs: number;
  readonly clock: Clock;
}

/** The clock of the times. */
export type Clock = "timestamp queries" | "wall time";

/** How much is run; the quick one proves only that something runs. */
interface Effort {
  /** Keeps the device busy before the first attempt, and before each: an idle GPU runs at a fraction of its clock. */
  readonly warmUpMs: number;
  readonly warmAgainMs: number;
  /** Aimed at, by the number of runs in a pass: long, so that coarse clocks (a browser's tick every 100 us) do. */
  readonly passMs: number;
  readonly passes: number;
  readonly attempts: number;
  /** Runs in passes of their own, and submits for wall time. */
  readonly alone: number;
}

const thorough: Effort = {
  warmUpMs: 200,
  warmAgainMs: 60,
  passMs: 10,
  passes: 5,
  attempts: 3,
  alone: 25,
};
const short: Effort = {
  warmUpMs: 60,
  warmAgainMs: 20,
  passMs: 5,
  passes: 5,
  attempts: 3,
  alone: 5,
};
const brief: Effort = { warmUpMs: 0, warmAgainMs: 0, passMs: 0, passes: 1, attempts: 3, alone: 1 };
const maxRepeats = 500;

/** An attempt at a slow program has fewer passes. */
const attemptMs = 300;

/** Where times of this device come from. */
export function clockOf(device: Device): Clock {
  const stamps = device.kind === "webgpu" && (device as WebGpuDevice).gpu.features.has("timestamp-query");
  return stamps ? "timestamp queries" : "wall time";
}

/**
 * Times programs in turn. Give so many, over buffers of their own, that no cache holds more than it would in use. The
 * turn goes on from pass to pass and from attempt to attempt.
 */
export async function timePrograms(
  device: Device,
  programs: readonly Program[],
  { quick, many = false }: {
    readonly quick: boolean;
    /** One of many to compare: less of it, a third of a second in all. */
    readonly many?: boolean;
  },
): Promise<Timing> {
  const effort = quick ? brief : many ? short : thorough;
  let turn = 0;
  const next = (count: number): Program[] =>
    Array.from({ length: count }, () => programs[turn++ % programs.length]);
  await runWall(device, next(1)); // compiles, allocates
  const estimateUs = await warmUp(device, next, effort.warmUpMs);
  const repeats = Math.max(1, Math.min(maxRepeats, Math.round(1000 * effort.passMs / estimateUs)));
  const passCount = Math.min(effort.passes, Math.ceil(1000 * attemptMs / (repeats * estimateUs)));
  const clock = clockOf(device);
  const alone: number[] = [], wall: number[] = [], attempts: number[] = [];
  for (let i = 0; i < effort.attempts; i++) {
    await warmUp(device, next, effort.warmAgainMs);
    const passes = Array.from({ length: passCount }, () => next(repeats));
    if (clock === "wall time") {
      const times = [];
      for (const pass of passes) times.push(await runWall(device, pass) / repeats);
      attempts.push(median(times));
      continue;
    }
    const singles = next(effort.alone).map((program) => [program]);
    const times = await timePasses(device as WebGpuDevice, [...singles, ...passes]);
    alone.push(...times.slice(0, singles.length));
    attempts.push(median(times.slice(singles.length)) / repeats);
    wall.push(await runWall(device, next(effort.alone)) / effort.alone);
  }
  return {
    medianUs: median(attempts),
    minimumUs: Math.min(...attempts),
    slowestUs: Math.max(...attempts),
    runs: effort.attempts * passCount * repeats,
    ...(clock === "timestamp queries" ? { aloneUs: median(alone) } : {}),
    wallUs: wall.length > 0 ? median(wall) : median(attempts),
    clock,
  };
}

/** Microseconds of wall time until all of the programs, submitted one by one, are done. */
async function runWall(device: Device, programs: readonly Program[]): Promise<number> {
  const begin = performance.now();
  for (const program of programs) device.run(program);
  if (device.kind === "webgpu") await (device as WebGpuDevice).gpu.queue.onSubmittedWorkDone();
  return 1000 * (performance.now() - begin);
}

/** Keeps the device busy for a while; microseconds of wall time a run, with the waiting at its least. */
async function warmUp(device: Device, next: (count: number) => Program[], forMs: number): Promise<number> {
  let leastUs = Infinity;
  const start = performance.now();
  for (let count = 1; leastUs === Infinity || performance.now() - start < forMs;) {
    leastUs = Math.min(leastUs, await runWall(device, next(count)) / count);
    // Batches of about 50 ms, so that waiting is a small part of them.
    count = Math.max(1, Math.min(2000, Math.round(5e4 / leastUs)));
  }
  return leastUs;
}

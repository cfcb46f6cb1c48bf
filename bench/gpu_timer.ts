/**
 * GPU time by timestamp queries: one compute pass a run, so that runs neither overlap nor share a launch.
 *
 * @module
 */
import type { Program } from "../src/device/device.ts";
import type { WebGpuDevice } from "../src/device/webgpu.ts";

/** Microseconds. */
export interface Timing {
  /** One run in a pass of its own: what a lone call costs, the pass and its timestamps included. */
  readonly medianUs: number;
  readonly minUs: number;
  /** One of many runs in one pass on the same buffers, each waiting for the one before: what a step of a plan costs. */
  readonly inPassUs: number;
  /** `inPassUs` of the slowest attempt. */
  readonly slowestUs: number;
  /** Wall time of one run, launches and all, over all runs. */
  readonly wallUs: number;
}

/** An idle GPU runs at a fraction of its clock: keeps it busy for a while. */
async function warmUp(device: WebGpuDevice, programs: readonly Program[]): Promise<void> {
  const start = performance.now();
  for (let now = start, count = 10; now - start < 400;) {
    for (let i = 0; i < count; i++) device.run(programs[i % programs.length]);
    await device.gpu.queue.onSubmittedWorkDone();
    const took = (performance.now() - now) / count;
    now += took * count;
    // Batches of about 50 ms, so that waiting is a small part of them.
    count = Math.max(10, Math.min(2000, Math.round(50 / took)));
  }
}

/** Passes of repeated runs, and runs in each. */
const passes = 7;
const repeats = 20;

/** Attempts at each time: some GPUs change their clock under load, and the best attempt is the one at full clock. */
const attempts = 5;

/** Times programs in turn (sets of buffers in rotation), `runs` runs an attempt; the attempt with the lowest time in a pass. */
export async function timeOnGpu(
  device: WebGpuDevice,
  programs: readonly Program[],
  runs = 40,
): Promise<Timing> {
  let best = await attempt(device, programs, runs);
  let slowestUs = best.inPassUs;
  for (let i = 1; i < attempts; i++) {
    const timing = await attempt(device, programs, runs);
    slowestUs = Math.max(slowestUs, timing.inPassUs);
    if (timing.inPassUs < best.inPassUs) best = timing;
  }
  return { ...best, slowestUs };
}

async function attempt(
  device: WebGpuDevice,
  programs: readonly Program[],
  runs = 40,
): Promise<Timing> {
  const { gpu } = device;
  if (!gpu.features.has("timestamp-query")) {
    throw new Error("Cannot time on this GPU: it has no timestamp-query");
  }
  const querySet = gpu.createQuerySet({ type: "timestamp", count: 2 * (runs + passes) });
  const resolved = gpu.createBuffer({ size: 16 * (runs + passes), usage: 0x200 | 0x4 }); // QUERY_RESOLVE | COPY_SRC
  const readback = gpu.createBuffer({ size: 16 * (runs + passes), usage: 0x1 | 0x8 }); // MAP_READ | COPY_DST
  await warmUp(device, programs);
  const start = performance.now();
  for (let i = 0; i < runs; i++) record(i, [programs[i % programs.length]]);
  await gpu.queue.onSubmittedWorkDone();
  const wallUs = 1000 * (performance.now() - start) / runs;
  for (let i = 0; i < passes; i++) record(runs + i, Array(repeats).fill(programs[0]));
  const encoder = gpu.createCommandEncoder();
  encoder.resolveQuerySet(querySet, 0, 2 * (runs + passes), resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, readback, 0, 16 * (runs + passes));
  gpu.queue.submit([encoder.finish()]);
  await readback.mapAsync(0x1);
  const stamps = new BigUint64Array(readback.getMappedRange().slice(0));
  readback.unmap();
  for (const buffer of [resolved, readback]) buffer.destroy();
  querySet.destroy();
  const span = (i: number): number => Number(stamps[2 * i + 1] - stamps[2 * i]) / 1000;
  const times = Array.from({ length: runs }, (_, i) => span(i)).sort((a, b) => a - b);
  const inPass = Array.from({ length: passes }, (_, i) => span(runs + i) / repeats).sort((a, b) => a - b);
  return {
    medianUs: times[runs >> 1],
    minUs: times[0],
    inPassUs: inPass[passes >> 1],
    slowestUs: inPass[passes >> 1],
    wallUs,
  };

  function record(slot: number, list: readonly Program[]): void {
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass({
      timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * slot, endOfPassWriteIndex: 2 * slot + 1 },
    });
    for (const program of list) device.encode(pass, program);
    pass.end();
    gpu.queue.submit([encoder.finish()]);
  }
}

/**
 * GPU time by timestamp queries: one compute pass a run, so that runs neither overlap nor share a launch.
 *
 * @module
 */
import type { Program } from "../src/device/device.ts";
import type { WebGpuDevice } from "../src/device/webgpu.ts";

/** Microseconds. */
export interface Timing {
  readonly medianUs: number;
  readonly minUs: number;
  /** Wall time of one run, launches and all, over all runs. */
  readonly wallUs: number;
}

/** An idle GPU runs at a fraction of its clock: keeps it busy until it runs at full speed. */
async function warmUp(device: WebGpuDevice, programs: readonly Program[]): Promise<void> {
  const end = performance.now() + 700;
  do {
    for (let i = 0; i < 10; i++) device.run(programs[i % programs.length]);
    await device.gpu.queue.onSubmittedWorkDone();
  } while (performance.now() < end);
}

/** Times programs in turn (sets of buffers in rotation), `runs` runs in all after a few to warm up. */
export async function timeOnGpu(
  device: WebGpuDevice,
  programs: readonly Program[],
  runs = 40,
): Promise<Timing> {
  const { gpu } = device;
  if (!gpu.features.has("timestamp-query")) {
    throw new Error("Cannot time on this GPU: it has no timestamp-query");
  }
  const querySet = gpu.createQuerySet({ type: "timestamp", count: 2 * runs });
  const resolved = gpu.createBuffer({ size: 16 * runs, usage: 0x200 | 0x4 }); // QUERY_RESOLVE | COPY_SRC
  const readback = gpu.createBuffer({ size: 16 * runs, usage: 0x1 | 0x8 }); // MAP_READ | COPY_DST
  await warmUp(device, programs);
  const start = performance.now();
  for (let i = 0; i < runs; i++) {
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass({
      timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 },
    });
    device.encode(pass, programs[i % programs.length]);
    pass.end();
    gpu.queue.submit([encoder.finish()]);
  }
  await gpu.queue.onSubmittedWorkDone();
  const wallUs = 1000 * (performance.now() - start) / runs;
  const encoder = gpu.createCommandEncoder();
  encoder.resolveQuerySet(querySet, 0, 2 * runs, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, readback, 0, 16 * runs);
  gpu.queue.submit([encoder.finish()]);
  await readback.mapAsync(0x1);
  const stamps = new BigUint64Array(readback.getMappedRange().slice(0));
  readback.unmap();
  for (const buffer of [resolved, readback]) buffer.destroy();
  querySet.destroy();
  const times = Array.from({ length: runs }, (_, i) => Number(stamps[2 * i + 1] - stamps[2 * i]) / 1000).sort(
    (a, b) => a - b,
  );
  return { medianUs: times[runs >> 1], minUs: times[0], wallUs };
}

/**
 * GPU time by timestamp queries: of compute passes, one after another.
 *
 * @module
 */
import type { Program } from "../src/device/device.ts";
import type { WebGpuDevice } from "../src/device/webgpu.ts";

/** Programs that run in one pass, in order. */
export type TimedPass = readonly Program[];

/** Two timestamps a pass; a query set holds at most 4096. */
const passesAtOnce = 2048;

/** Microseconds of each pass, in the order they are run. */
export async function timePasses(device: WebGpuDevice, passes: readonly TimedPass[]): Promise<number[]> {
  const times: number[] = [];
  for (let at = 0; at < passes.length; at += passesAtOnce) {
    times.push(...spans(await stampPasses(device, passes.slice(at, at + passesAtOnce))));
  }
  return times;
}

/**
 * Microseconds of passes from their begin and end stamps (nanoseconds). A pass is counted from where the one before it
 * ended: its own first timestamp may be written while that one still runs.
 */
export function spans(stamps: BigUint64Array): number[] {
  return Array.from({ length: stamps.length / 2 }, (_, i) => {
    const begin = stamps[2 * i];
    const free = i === 0 || stamps[2 * i - 1] < begin ? begin : stamps[2 * i - 1];
    return Math.max(0, Number(stamps[2 * i + 1] - free) / 1000);
  });
}

async function stampPasses(
  { gpu, encode }: WebGpuDevice,
  passes: readonly TimedPass[],
): Promise<BigUint64Array> {
  if (!gpu.features.has("timestamp-query")) {
    throw new Error("Cannot time on this GPU: it has no timestamp-query");
  }
  const count = 2 * passes.length;
  const querySet = gpu.createQuerySet({ type: "timestamp", count });
  const resolved = gpu.createBuffer({ size: 8 * count, usage: 0x200 | 0x4 }); // QUERY_RESOLVE | COPY_SRC
  const readback = gpu.createBuffer({ size: 8 * count, usage: 0x1 | 0x8 }); // MAP_READ | COPY_DST
  const encoder = gpu.createCommandEncoder();
  passes.forEach((programs, i) => {
    const pass = encoder.beginComputePass({
      timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 },
    });
    for (const program of programs) encode(pass, program);
    pass.end();
  });
  encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, readback, 0, 8 * count);
  gpu.queue.submit([encoder.finish()]);
  await readback.mapAsync(0x1);
  const stamps = new BigUint64Array(readback.getMappedRange().slice(0));
  readback.unmap();
  for (const buffer of [resolved, readback]) buffer.destroy();
  querySet.destroy();
  return stamps;
}

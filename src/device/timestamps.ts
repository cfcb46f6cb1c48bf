/**
 * When compute passes began and ended on a GPU, by timestamp queries or by the host's clock.
 *
 * @module
 */

/** A pass's times in microseconds from the first one's begin. */
export interface PassTime {
  readonly beginUs: number;
  readonly endUs: number;
}

const resolveUsage = 0x200 | 0x4; // QUERY_RESOLVE | COPY_SRC
const readbackUsage = 0x1 | 0x8; // MAP_READ | COPY_DST
const mapModeRead = 0x1;

/** Timed at once: a pass has two queries, and a query set holds at most 4096. */
export const mostPasses = 2048;

/** Puts dispatches into a pass. */
type RecordPass = (pass: GPUComputePassEncoder) => void;

/**
 * Runs passes one after the other, each with what `record` puts into it.
 *
 * @throws RangeError for more passes than a query set has room for.
 */
export async function timePasses(
  gpu: GPUDevice,
  passes: readonly RecordPass[],
): Promise<PassTime[]> {
  if (passes.length > mostPasses) {
    throw new RangeError(`Cannot time ${passes.length} passes: a query set has room for ${mostPasses}`);
  }
  const count = 2 * passes.length;
  const querySet = gpu.createQuerySet({ type: "timestamp", count });
  const resolved = gpu.createBuffer({ size: 8 * count, usage: resolveUsage });
  const staging = gpu.createBuffer({ size: 8 * count, usage: readbackUsage });
  const encoder = gpu.createCommandEncoder();
  passes.forEach((record, i) => {
    const pass = encoder.beginComputePass({
      timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 },
    });
    record(pass);
    pass.end();
  });
  encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, staging, 0, 8 * count);
  gpu.queue.submit([encoder.finish()]);
  try {
    await staging.mapAsync(mapModeRead);
    const stamps = new BigUint64Array(staging.getMappedRange().slice(0));
    const us = (i: number): number => Number(stamps[i] - stamps[0]) / 1000;
    return passes.map((_, i) => ({ beginUs: us(2 * i), endUs: us(2 * i + 1) }));
  } finally {
    for (const resource of [querySet, resolved, staging]) resource.destroy();
  }
}

/** The same without timestamps: each pass is submitted alone and waited for. */
export async function timePassesOnHost(
  gpu: GPUDevice,
  passes: readonly RecordPass[],
): Promise<PassTime[]> {
  const start = performance.now();
  const times: PassTime[] = [];
  for (const record of passes) {
    const beginUs = 1000 * (performance.now() - start);
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    record(pass);
    pass.end();
    gpu.queue.submit([encoder.finish()]);
    await gpu.queue.onSubmittedWorkDone();
    times.push({ beginUs, endUs: 1000 * (performance.now() - start) });
  }
  return times;
}

/**
 * Microseconds of each pass, counted from where the one before it ended: its own first timestamp may be written while that
 * one still runs.
 */
export function spans(times: readonly PassTime[]): number[] {
  return times.map(({ beginUs, endUs }, i) => {
    const begin = i === 0 ? beginUs : Math.max(beginUs, times[i - 1].endUs);
    return Math.max(0, endUs - begin);
  });
}

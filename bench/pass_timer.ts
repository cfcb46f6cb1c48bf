/**
 * GPU time by timestamp queries: of compute passes, one after another.
 *
 * @module
 */
import type { Program } from "../src/device/device.ts";
import { mostPasses, spans, timePasses as timeRecorded } from "../src/device/timestamps.ts";
import type { WebGpuDevice } from "../src/device/webgpu.ts";

/** Programs that run in one pass, in order. */
export type TimedPass = readonly Program[];

/** Microseconds of each pass, in the order they are run; as many as one likes. */
export async function timePasses(
  { gpu, encode }: WebGpuDevice,
  passes: readonly TimedPass[],
): Promise<number[]> {
  const us: number[] = [];
  for (let at = 0; at < passes.length; at += mostPasses) {
    const recorded = passes.slice(at, at + mostPasses).map((programs) => (pass: GPUComputePassEncoder) => {
      for (const program of programs) encode(pass, program);
    });
    us.push(...spans(await timeRecorded(gpu, recorded)));
  }
  return us;
}

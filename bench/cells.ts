/**
 * A timing as the cells of a table's row.
 *
 * @module
 */
import { copy } from "../kernels/copy.ts";
import type { Device } from "../src/device/device.ts";
import type { WebGpuDevice } from "../src/device/webgpu.ts";
import { step } from "../src/plan.ts";
import type { Tensor } from "../src/tensor.ts";
import { normalTensor } from "./data.ts";
import { type BenchContext, type Measurement, median } from "./measurement.ts";
import { timePrograms, type Timing } from "./timer.ts";

/** The least bytes that a run reads and writes, and the operations that it computes. */
export interface Work {
  readonly bytes?: number;
  readonly flops?: number;
}

type Place = Pick<Measurement, "table" | "row" | "x">;

/** Times of a row: in a pass, alone, and wall; the wall's only where that is the clock. */
export function times(place: Place, timing: Timing): Measurement[] {
  const cell = { ...place, unit: "us" };
  const { medianUs, minimumUs, slowestUs, runs, aloneUs, wallUs, clock } = timing;
  const first = {
    ...cell,
    column: clock === "wall time" ? "wall" : "in a pass",
    median: medianUs,
    minimum: minimumUs,
    slowest: slowestUs,
    runs,
  };
  if (aloneUs === undefined) return [first];
  return [
    first,
    { ...cell, column: "alone", median: aloneUs },
    { ...cell, column: "wall", median: wallUs },
  ];
}

/** Rates of a row: bytes and operations a second, and the time that its bytes take in a copy as a part of its own. */
export function rates(
  place: Place,
  { medianUs }: Timing,
  { bytes, flops, copyGBs }: Work & { readonly copyGBs: number },
): Measurement[] {
  const cells: Measurement[] = [];
  const put = (column: string, unit: string, value: number): void =>
    void cells.push({ ...place, column, unit, median: value });
  if (flops) put("rate", "GFLOP/s", flops / medianUs / 1e3);
  if (bytes) {
    put("read and written", "GB/s", bytes / medianUs / 1e3);
    put("of a copy's rate", "%", 100 * bytes / medianUs / 1e3 / copyGBs);
  }
  return cells;
}

const copyRates = new WeakMap<Device, Measurement>();

/** Microseconds of a copy by the device's own command, of wall time over many in a row. */
async function copyCommandUs({ device, quick }: BenchContext, x: Tensor, y: Tensor): Promise<number> {
  const count = quick ? 1 : 20;
  const times: number[] = [];
  for (let attempt = 0; attempt < 6; attempt++) {
    const begin = performance.now();
    for (let i = 0; i < count; i++) device.copy(x, y);
    if (device.kind === "webgpu") await (device as WebGpuDevice).gpu.queue.onSubmittedWorkDone();
    times.push(1000 * (performance.now() - begin) / count);
  }
  return median(times.slice(1)); // the first finds memory that was never written
}

/**
 * The device's own memory bandwidth: bytes read and written a second from memory to memory. The `copy` kernel and the
 * device's own command are timed; the faster counts.
 */
export async function copyRate(context: BenchContext): Promise<Measurement> {
  const { device, quick } = context;
  const known = copyRates.get(device);
  if (known) return known;
  const count = quick ? 2 ** 18 : device.kind === "cpu" ? 2 ** 24 : 2 ** 27;
  const x = normalTensor(device, [count]);
  const y = device.alloc([count], "float32");
  const timing = await timePrograms(device, [await device.prepare([step(copy, { x, y }, { count })])], {
    quick,
  });
  const commandUs = await copyCommandUs(context, x, y);
  for (const t of [x, y]) device.release(t);
  const rate = (us: number): number => 8 * count / us / 1e3;
  const byKernel = timing.medianUs <= commandUs;
  const measured: Measurement = {
    table: "copy",
    row: `copy of ${4 * count / 2 ** 20} MiB`,
    column: "read and written",
    unit: "GB/s",
    median: rate(byKernel ? timing.medianUs : commandUs),
    ...(byKernel ? { minimum: rate(timing.slowestUs), runs: timing.runs } : {}),
    note: byKernel
      ? `By the copy kernel; by the device's own command ${rate(commandUs).toFixed(0)} GB/s.`
      : `By the device's own command; by the copy kernel ${rate(timing.medianUs).toFixed(0)} GB/s.`,
  };
  copyRates.set(device, measured);
  return measured;
}

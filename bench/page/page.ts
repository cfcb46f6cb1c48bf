/**
 * Benches the kernels on the GPU of whoever opens the page; `index.html` shows it.
 *
 * @module
 */
import { kernels } from "../../kernels/mod.ts";
import { webgpuDevice } from "../../src/device/webgpu.ts";
import { openGpu } from "../../src/device/open_gpu.ts";
import { copyRate } from "../cells.ts";
import { timeKernel } from "../kernels.ts";
import type { BenchContext, Measurement } from "../measurement.ts";
import { clockOf } from "../timer.ts";

/** Names of the kernels that can be chosen. */
export const kernelNames: readonly string[] = kernels.map(({ name }) => name);

/** The visitor's choices, and the places where the page shows results. */
export interface PageBench {
  readonly kernels: readonly string[];
  readonly quick: boolean;
  readonly onDevice: (line: string) => void;
  readonly onMeasurement: (measurement: Measurement) => void;
  readonly log: (line: string) => void;
}

/** Opens the page's GPU, measures a copy on it, then the kernels, one after the other. */
export async function run(
  { kernels: chosen, quick, onDevice, onMeasurement, log }: PageBench,
): Promise<void> {
  const gpu = await openGpu();
  const device = webgpuDevice(gpu.device, { ...gpu, tuning: gpu.software ? undefined : {} });
  try {
    const context: BenchContext = { device, quick, log };
    const copy = await copyRate(context);
    onDevice(
      `${gpu.description}; times by ${clockOf(device)}; a copy reads and writes ${
        copy.median.toFixed(1)
      } GB/s`,
    );
    for (const kernel of kernels.filter(({ name }) => chosen.includes(name))) {
      for await (const measurement of timeKernel(context, { kernel, table: "kernels" })) {
        onMeasurement(measurement);
      }
    }
  } finally {
    device.destroy();
  }
}

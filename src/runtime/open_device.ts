/**
 * Chooses a device on Deno, Bun and Node.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { chooseDevice, type OpenDeviceOptions as DeviceOptions } from "../device/open_device.ts";
import { openGpu, type OpenGpuOptions, openLikelyGpu } from "./gpu.ts";
import { openCpuDevice } from "./open_cpu.ts";
import { keptTuning } from "./way_file.ts";

/** What to open. */
export type OpenDeviceOptions = DeviceOptions<OpenGpuOptions>;

/**
 * Opens a device: a GPU by Dawn or `navigator.gpu`, or the CPU. Which ways of kernels are the fastest on a GPU is kept in the
 * user's cache folder, where there is one.
 *
 * @throws DeviceError when `webgpu` was asked for and there is none; the message says what to do.
 */
export function openDevice(options: OpenDeviceOptions = {}): Promise<Device> {
  return chooseDevice(options, {
    cpu: openCpuDevice,
    gpu: openGpu,
    likelyGpu: openLikelyGpu,
    tuning: ({ identity }, log) => keptTuning(identity, { log }),
  });
}

/**
 * Chooses a device: a GPU where one is worth it, the CPU otherwise, and says why.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { webgpuDevice } from "../device/webgpu.ts";
import { openGpu, type OpenGpuOptions, openLikelyGpu } from "./gpu.ts";
import { openCpuDevice } from "./open_cpu.ts";
import { keptTuning } from "./way_file.ts";

/** What to open. */
export interface OpenDeviceOptions {
  /** `webgpu` or nothing, `cpu`, or `auto` (default): a hardware GPU if there is one, else the CPU. */
  readonly kind?: "auto" | "webgpu" | "cpu";
  readonly gpu?: OpenGpuOptions;
  /** Receives one line that says what was chosen and why, and one whenever ways of kernels were timed on a GPU. */
  readonly log?: (line: string) => void;
}

/**
 * Opens a device. Which ways of kernels are the fastest on a GPU is kept in the user's cache folder, where there is one.
 *
 * @throws DeviceError when `webgpu` was asked for and there is none; the message says what to do.
 */
export async function openDevice(options: OpenDeviceOptions = {}): Promise<Device> {
  const { kind = "auto", log = () => {} } = options;
  if (kind === "cpu") return chosen(await openCpuDevice(), "asked for", log);
  try {
    const gpu = await (kind === "auto" ? openLikelyGpu : openGpu)(options.gpu);
    if (kind === "auto" && gpu.software) {
      gpu.destroy();
      return chosen(
        await openCpuDevice(),
        `the only WebGPU adapter, ${gpu.description}, computes on the CPU and is slower`,
        log,
      );
    }
    const device = webgpuDevice(gpu.device, {
      description: `WebGPU (${gpu.description})`,
      matrixUnits: gpu.matrixUnits,
      destroy: gpu.destroy,
      tuning: gpu.software ? undefined : await keptTuning(gpu.identity, { log }),
    });
    return chosen(device, kind === "webgpu" ? "asked for" : "a GPU was found", log);
  } catch (error) {
    if (kind === "webgpu") throw error;
    const why = (error as Error).message.replace(/^Cannot open a GPU: /, "");
    return chosen(await openCpuDevice(), `no GPU: ${why}`, log);
  }
}

function chosen(device: Device, reason: string, log: (line: string) => void): Device {
  log(`device: ${device.description}; ${reason}`);
  return device;
}

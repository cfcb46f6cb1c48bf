/**
 * Chooses a device: a GPU where one is worth it, the CPU otherwise, and says why.
 *
 * @module
 */
import type { CpuDeviceOptions } from "./cpu.ts";
import type { Device } from "./device.ts";
import { type OpenGpu, openGpu, type OpenGpuOptions } from "./open_gpu.ts";
import type { TuningOptions } from "./tuner.ts";

/** What to open. */
export interface OpenDeviceOptions<G = OpenGpuOptions> {
  /** `webgpu` or nothing, `cpu`, or `auto` (default): a hardware GPU if there is one, else the CPU. */
  readonly kind?: "auto" | "webgpu" | "cpu";
  readonly gpu?: G;
  /** How the CPU is opened, where it is: its threads, for one. */
  readonly cpu?: CpuDeviceOptions;
  /** Receives one line that says what was chosen and why, and one whenever ways of kernels were timed on a GPU. */
  readonly log?: (line: string) => void;
}

/** How devices are opened here. */
export interface Openers<G> {
  readonly cpu: (options?: CpuDeviceOptions) => Promise<Device>;
  /** Throws DeviceError when there is none. */
  readonly gpu: (options?: G) => Promise<OpenGpu>;
  /** The same for those who can do without; where absent, `gpu` is used. */
  readonly likelyGpu?: (options?: G) => Promise<OpenGpu>;
  /** How a hardware GPU's kernels are tuned. */
  readonly tuning: (gpu: OpenGpu, log: (line: string) => void) => TuningOptions | Promise<TuningOptions>;
}

/** What is told of tuning; `kept` says where the answers are, where they are kept. */
export function tunedLine(
  { found, ms }: { readonly found: ArrayLike<unknown>; readonly ms: number },
  kept = "",
): string {
  return `tuned: kernels of ${found.length} size classes timed in ${(ms / 1000).toFixed(1)} s${kept}`;
}

/** Opens a device by these openers; see {@linkcode openDevice}. */
export async function chooseDevice<G>(
  { kind = "auto", gpu: options, cpu, log = () => {} }: OpenDeviceOptions<G>,
  openers: Openers<G>,
): Promise<Device> {
  const chosen = (device: Device, reason: string): Device => {
    log(`device: ${device.description}; ${reason}`);
    return device;
  };
  if (kind === "cpu") return chosen(await openers.cpu(cpu), "asked for");
  try {
    const gpu = await (kind === "auto" && openers.likelyGpu || openers.gpu)(options);
    if (kind === "auto" && gpu.software) {
      gpu.destroy();
      const why = `the only WebGPU adapter, ${gpu.description}, computes on the CPU and is slower`;
      return chosen(await openers.cpu(cpu), why);
    }
    const { webgpuDevice } = await import("./webgpu.ts");
    const device = webgpuDevice(gpu.device, {
      description: `WebGPU (${gpu.description})`,
      matrixUnits: gpu.matrixUnits,
      destroy: gpu.destroy,
      tuning: gpu.software ? undefined : await openers.tuning(gpu, log),
    });
    return chosen(device, kind === "webgpu" ? "asked for" : "a GPU was found");
  } catch (error) {
    if (kind === "webgpu") throw error;
    const why = (error as Error).message.replace(/^Cannot open a GPU: /, "");
    return chosen(await openers.cpu(cpu), `no GPU: ${why}`);
  }
}

/**
 * Opens a device of a page: its `navigator.gpu`, or the CPU. Which ways of kernels are the fastest on a GPU is found anew
 * in each page. On Deno, Bun and Node `openDevice` of `fourierft/node` opens Dawn, and keeps what it found.
 *
 * @throws DeviceError when `webgpu` was asked for and there is none; the message says what to do.
 */
export function openDevice(options: OpenDeviceOptions = {}): Promise<Device> {
  return chooseDevice(options, {
    cpu: async (options) => (await import("./open_cpu.ts")).openCpuDevice(options),
    gpu: openGpu,
    tuning: (_, log) => ({ onTuned: (tuned) => log(tunedLine(tuned)) }),
  });
}

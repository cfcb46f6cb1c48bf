/**
 * Opens a `GPUDevice` on Deno, Bun and Node: Dawn (npm `webgpu`) first, then the runtime's own `navigator.gpu`.
 *
 * @module
 */
import { DeviceError } from "../device/device.ts";
import {
  type Implementation,
  navigatorGpu,
  type OpenGpu,
  openGpuOf,
  type OpenGpuOptions as GpuOptions,
  reasonOf,
} from "../device/open_gpu.ts";
import { lookPatiently } from "./dawn_looks.ts";
import { importOptional, runtimeName } from "./runtime.ts";
import { missingForVulkan } from "./vulkan.ts";

export type { OpenGpu } from "../device/open_gpu.ts";

/** An implementation of WebGPU: Dawn from npm, or what the runtime itself brings. */
export type GpuSource = "dawn" | "navigator";

/** How to open a GPU. */
export interface OpenGpuOptions extends GpuOptions {
  /** The only implementation to try; by default Dawn first, then `navigator.gpu`. */
  readonly prefer?: GpuSource;
}

/**
 * Dawn's instances by the features that are enabled, kept for the life of the process. When an instance is collected
 * while its device lives, Node hangs or aborts, and Bun and Deno crash.
 */
const dawnInstances = new Map<string, GPU>();

const dawnFlags = (features: string): string[] => [
  `enable-dawn-features=${features}`,
  // Else timestamps are rounded to 65 microseconds, for the sake of pages that must not time each other.
  "disable-dawn-features=timestamp_quantization",
];

interface DawnModule {
  create(flags: string[]): GPU;
}

async function importDawn(): Promise<DawnModule> {
  try {
    return await importOptional<DawnModule>("webgpu");
  } catch (error) {
    // No package.json names it, as when a Deno program imports this package from a registry: Deno can still fetch it.
    if (runtimeName() !== "deno" || !(error instanceof TypeError)) throw error;
    return await importOptional<DawnModule>("npm:webgpu@^0.6.2");
  }
}

/**
 * npm's Dawn. Tests for a software GPU enable more of Dawn's own features.
 *
 * @throws what the import throws where the package or its native library is not there.
 */
export async function dawn(
  { matrixUnits = false }: Pick<OpenGpuOptions, "matrixUnits">,
  more: readonly string[] = [],
): Promise<Implementation> {
  const features = ["vulkan_enable_f16_on_nvidia", ...(matrixUnits ? ["allow_unsafe_apis"] : []), ...more]
    .join();
  let gpu = dawnInstances.get(features);
  if (!gpu) {
    const { create } = await importDawn();
    lookPatiently();
    gpu = dawnInstances.get(features) ?? create(dawnFlags(features));
    dawnInstances.set(features, gpu);
  }
  return { gpu, name: "Dawn", id: "dawn" };
}

async function remedy(): Promise<string> {
  const missing = await missingForVulkan();
  const cause = missing ? `On this machine ${missing}. ` : "";
  return `${cause}Install the GPU's Vulkan driver, or point VK_DRIVER_FILES at a software one ` +
    "(SwiftShader's vk_swiftshader_icd.json) before the process starts, or use the CPU device.";
}

/** The first GPU that opens; what came of the others goes to `failures`. */
async function openFirst(
  sources: readonly GpuSource[],
  options: OpenGpuOptions,
  { failures }: { failures: string[] },
): Promise<OpenGpu | undefined> {
  for (const source of sources) {
    try {
      return await openGpuOf(source === "dawn" ? await dawn(options) : navigatorGpu(), options);
    } catch (error) {
      failures.push(`${source === "dawn" ? "Dawn (npm webgpu)" : "navigator.gpu"}: ${reasonOf(error)}`);
    }
  }
  return undefined;
}

/**
 * Opens a GPU with all of the adapter's limits. Each call asks for a new adapter, so that a lost device can be replaced.
 *
 * @throws DeviceError when there is none; the message says what was tried, what is missing and what to do.
 */
export async function openGpu(options: OpenGpuOptions = {}): Promise<OpenGpu> {
  const failures: string[] = [];
  const sources = options.prefer ? [options.prefer] : ["dawn", "navigator"] as const;
  const gpu = await openFirst(sources, options, { failures });
  if (gpu) return gpu;
  throw new DeviceError(`Cannot open a GPU: ${failures.join("; ")}. ${await remedy()}`);
}

/**
 * The same for those who can do without. Dawn is not loaded where the machine lacks its drivers: Dawn would write a
 * warning of its own to standard error.
 *
 * @throws DeviceError as `openGpu`; where Dawn was not loaded and nothing else is there, the message says why alone.
 */
export async function openLikelyGpu(options: OpenGpuOptions = {}): Promise<OpenGpu> {
  const missing = options.prefer ? "" : await missingForVulkan();
  if (!missing) return await openGpu(options);
  const gpu = await openFirst(["navigator"], options, { failures: [] });
  if (gpu) return gpu;
  throw new DeviceError(`Cannot open a GPU: ${missing}`);
}

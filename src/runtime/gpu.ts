/**
 * Opens a `GPUDevice` on any runtime: Dawn (npm `webgpu`) on Deno, Node and Bun, `navigator.gpu` elsewhere.
 *
 * @module
 */
import { DeviceError } from "../device/device.ts";
import { hasMatrixUnits, matrixUnitsFeature } from "../device/matrix_units.ts";
import { lookPatiently } from "./dawn_looks.ts";
import { importOptional, runtimeName } from "./runtime.ts";
import { missingForVulkan } from "./vulkan.ts";

/** An implementation of WebGPU: Dawn from npm, or what the runtime itself brings. */
export type GpuSource = "dawn" | "navigator";

/** How to open a GPU. */
export interface OpenGpuOptions {
  /** The only implementation to try; by default Dawn first where it can run, then `navigator.gpu`. */
  readonly prefer?: GpuSource;
  /** Features to request where the adapter has them; by default those that kernels use. */
  readonly features?: readonly GPUFeatureName[];
  /**
   * Whether products by float16 weights of nine rows or more run on matrix units (tensor cores), where the GPU offers
   * those of float16 with float32 sums: Dawn on NVIDIA does. They round x to float16, numbers beyond +-65504 to these,
   * and what is not a number may become one: results differ from float32's by some 3e-4. Off by default. The feature is
   * experimental, so Dawn is opened with its `allow_unsafe_apis`, and a browser needs its flag for unsafe WebGPU.
   */
  readonly matrixUnits?: boolean;
}

/** An open GPU. */
export interface OpenGpu {
  readonly device: GPUDevice;
  /** Implementation and adapter, e.g. `Dawn: NVIDIA H100`, and whether matrix units are used if they were asked for. */
  readonly description: string;
  /** All that tells this GPU and its driver from others, as far as the implementation says. */
  readonly identity: string;
  /** Whether it was opened with matrix units: asked for, and there. For `webgpuDevice`. */
  readonly matrixUnits: boolean;
  /** Whether the adapter computes on the CPU (SwiftShader, llvmpipe): right, but slower than the CPU device. */
  readonly software: boolean;
  /** Destroys the device; a process with an open device may not end. */
  destroy(): void;
}

/** Features that kernels use where they exist. */
const usefulFeatures: readonly GPUFeatureName[] = ["subgroups", "shader-f16", "timestamp-query"];

/**
 * Dawn's instances, with and without matrix units, kept for the life of the process: when the object that `create()`
 * returns is collected while a device lives, Node hangs or aborts and Bun and Deno crash.
 */
const dawnInstances = new Map<boolean, GPU>();

const dawnFlags = (matrixUnits: boolean): string[] => [
  `enable-dawn-features=vulkan_enable_f16_on_nvidia${matrixUnits ? ",allow_unsafe_apis" : ""}`,
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

async function dawn({ matrixUnits = false }: OpenGpuOptions): Promise<GPU> {
  let instance = dawnInstances.get(matrixUnits);
  if (!instance) {
    const { create } = await importDawn();
    lookPatiently();
    instance = dawnInstances.get(matrixUnits) ?? create(dawnFlags(matrixUnits));
    dawnInstances.set(matrixUnits, instance);
  }
  return instance;
}

function navigatorGpu(): GPU {
  if (typeof navigator === "undefined" || !navigator.gpu) {
    throw new DeviceError("this runtime has no navigator.gpu");
  }
  return navigator.gpu;
}

/** The adapter's limits, all of them: a device opened without gets WebGPU's small defaults. */
function numericLimits(adapter: GPUAdapter): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const name in adapter.limits) {
    const value = adapter.limits[name as keyof GPUSupportedLimits];
    if (typeof value === "number") limits[name] = value;
  }
  return limits;
}

const softwareAdapter = /swiftshader|llvmpipe|lavapipe|microsoft basic render/i;

function adapterName({ vendor, architecture, device, description }: GPUAdapterInfo): string {
  return description || [vendor, architecture, device].filter(Boolean).join(" ") || "unnamed adapter";
}

async function openFrom(source: GpuSource, options: OpenGpuOptions): Promise<OpenGpu> {
  const gpu = source === "dawn" ? await dawn(options) : navigatorGpu();
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new DeviceError("it found no adapter");
  const matrixUnits = (options.matrixUnits ?? false) && adapter.features.has(matrixUnitsFeature) &&
    hasMatrixUnits(adapter.info);
  const usual = (options.features ?? usefulFeatures).filter((name) => adapter.features.has(name));
  const device = await adapter.requestDevice({
    requiredFeatures: matrixUnits ? [...usual, matrixUnitsFeature] : usual,
    requiredLimits: numericLimits(adapter),
  });
  const name = adapterName(adapter.info);
  const { vendor, architecture, device: model, description } = adapter.info;
  const units = options.matrixUnits ? `, ${matrixUnits ? "with" : "without"} matrix units` : "";
  const told = [source, vendor, architecture, model, description, matrixUnits && "matrix units"];
  return {
    device,
    description: `${source === "dawn" ? "Dawn" : "navigator.gpu"}: ${name}${units}`,
    matrixUnits,
    identity: told.filter(Boolean).join(", "),
    software: softwareAdapter.test(`${adapter.info.architecture} ${name}`),
    destroy: () => device.destroy(),
  };
}

async function remedy(): Promise<string> {
  if (runtimeName() === "browser") return "Use a browser with WebGPU, or the CPU device.";
  const missing = await missingForVulkan();
  const cause = missing ? `On this machine ${missing}. ` : "";
  return `${cause}Install the GPU's Vulkan driver, or point VK_DRIVER_FILES at a software one ` +
    "(SwiftShader's vk_swiftshader_icd.json) before the process starts, or use the CPU device.";
}

/** The first line of an error: native loaders append stacks of their own. */
function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}

const possibleSources = (): readonly GpuSource[] =>
  runtimeName() === "browser" ? ["navigator"] : ["dawn", "navigator"];

/** The first GPU that opens; what came of the others goes to `failures`. */
async function openFirst(
  sources: readonly GpuSource[],
  options: OpenGpuOptions,
  { failures }: { failures: string[] },
): Promise<OpenGpu | undefined> {
  for (const source of sources) {
    try {
      return await openFrom(source, options);
    } catch (error) {
      failures.push(`${source === "dawn" ? "Dawn (npm webgpu)" : "navigator.gpu"}: ${reason(error)}`);
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
  const sources = options.prefer ? [options.prefer] : possibleSources();
  const gpu = await openFirst(sources, options, { failures });
  if (gpu) return gpu;
  throw new DeviceError(`Cannot open a GPU: ${failures.join("; ")}. ${await remedy()}`);
}

/**
 * The same for those who can do without: Dawn is not loaded where the machine lacks what it needs, since it would write a
 * warning of its own to standard error.
 *
 * @throws DeviceError as `openGpu`; where Dawn was not loaded and nothing else is there, the message says why alone.
 */
export async function openLikelyGpu(options: OpenGpuOptions = {}): Promise<OpenGpu> {
  const missing = options.prefer || runtimeName() === "browser" ? "" : await missingForVulkan();
  if (!missing) return await openGpu(options);
  const gpu = await openFirst(["navigator"], options, { failures: [] });
  if (gpu) return gpu;
  throw new DeviceError(`Cannot open a GPU: ${missing}`);
}

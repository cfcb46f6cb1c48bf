/**
 * Opens a `GPUDevice` with all that kernels use, from any implementation of WebGPU; by default the page's.
 *
 * @module
 */
import { DeviceError } from "./device.ts";
import { hasMatrixUnits, matrixUnitsFeature } from "./matrix_units.ts";

/** How to open a GPU. */
export interface OpenGpuOptions {
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

/** An implementation of WebGPU, with names for people and for files. */
export interface Implementation {
  readonly gpu: GPU;
  /** e.g. `Dawn` */
  readonly name: string;
  /** e.g. `dawn` */
  readonly id: string;
}

/** Features that kernels use where they exist. */
const usefulFeatures: readonly GPUFeatureName[] = ["subgroups", "shader-f16", "timestamp-query"];

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

/**
 * Opens an implementation's fastest GPU.
 *
 * @throws DeviceError when it has no adapter.
 */
export async function openGpuOf(source: Implementation, options: OpenGpuOptions): Promise<OpenGpu> {
  const { gpu, name, id } = source;
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new DeviceError("it found no adapter");
  const matrixUnits = (options.matrixUnits ?? false) && adapter.features.has(matrixUnitsFeature) &&
    hasMatrixUnits(adapter.info);
  const usual = (options.features ?? usefulFeatures).filter((feature) => adapter.features.has(feature));
  const device = await adapter.requestDevice({
    requiredFeatures: matrixUnits ? [...usual, matrixUnitsFeature] : usual,
    requiredLimits: numericLimits(adapter),
  });
  const adapterText = adapterName(adapter.info);
  const { vendor, architecture, device: model, description } = adapter.info;
  const units = options.matrixUnits ? `, ${matrixUnits ? "with" : "without"} matrix units` : "";
  const told = [id, vendor, architecture, model, description, matrixUnits && "matrix units"];
  return {
    device,
    description: `${name}: ${adapterText}${units}`,
    matrixUnits,
    identity: told.filter(Boolean).join(", "),
    software: softwareAdapter.test(`${architecture} ${adapterText}`),
    destroy: () => device.destroy(),
  };
}

/**
 * What the page or the runtime itself brings.
 *
 * @throws DeviceError where there is none.
 */
export function navigatorGpu(): Implementation {
  if (typeof navigator === "undefined" || !navigator.gpu) {
    throw new DeviceError("this runtime has no navigator.gpu");
  }
  return { gpu: navigator.gpu, name: "navigator.gpu", id: "navigator" };
}

/** The first line of an error: native loaders append stacks of their own. */
export function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}

/**
 * Opens the GPU of `navigator.gpu` with all of the adapter's limits. Each call asks for a new adapter, so that a lost device
 * can be replaced. On Deno, Bun and Node `openGpu` of `fourierft/node` opens Dawn.
 *
 * @throws DeviceError when there is none; the message says what to do.
 */
export async function openGpu(options: OpenGpuOptions = {}): Promise<OpenGpu> {
  try {
    return await openGpuOf(navigatorGpu(), options);
  } catch (error) {
    throw new DeviceError(
      `Cannot open a GPU: navigator.gpu: ${reasonOf(error)}. Use a browser with WebGPU, or the CPU device; ` +
        "on Deno, Bun and Node openGpu and openDevice of fourierft/node open Dawn.",
    );
  }
}

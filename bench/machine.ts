/**
 * The machine that benches run on, and its name in recordings.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Device } from "../src/device/device.ts";
import { matrixUnitsFeature } from "../src/device/matrix_units.ts";
import type { Tuned } from "../src/device/tuner.ts";
import { webgpuDevice } from "../src/device/webgpu.ts";
import { type OpenGpu, openGpu } from "../src/runtime/gpu.ts";
import { cpuDevice } from "../src/device/cpu.ts";

/** A machine as far as its speed is concerned. */
export interface Machine {
  /** The GPU, or the processor and the number of its threads. */
  readonly name: string;
  readonly driver?: string;
  readonly os: string;
}

/** An open device, and what its figures are recorded under. */
export interface OpenBenchDevice {
  readonly device: Device;
  /** As asked for, and always on a software GPU. */
  readonly quick: boolean;
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string>>;
}

const system = `${os.type()} ${os.arch()}`;

/** Name and driver of the GPU, by the vendor's own tool; a browser's or Dawn's name has no driver version. */
function nvidia(): { name: string; driver: string } | undefined {
  try {
    const query = ["--query-gpu=name,driver_version", "--format=csv,noheader"];
    const [name, driver] = execFileSync("nvidia-smi", query, { encoding: "utf8" }).split("\n")[0].split(", ");
    return { name, driver };
  } catch {
    return undefined;
  }
}

function packageVersion(name: string): string {
  const file = join(import.meta.dirname!, "..", "node_modules", name, "package.json");
  return JSON.parse(readFileSync(file, "utf8")).version;
}

const runtime: Readonly<Record<string, string>> = "Deno" in globalThis
  ? { Deno: process.versions.deno! }
  : { Node: process.versions.node };

/** The name that a device's figures are recorded under. */
export function machineOf(device: Device): Pick<OpenBenchDevice, "machine" | "versions"> {
  const { kind, description } = device;
  const dawn: Record<string, string> = /Dawn/.test(description)
    ? { "Dawn (npm webgpu)": packageVersion("webgpu") }
    : {};
  const versions = { ...runtime, ...dawn, device: description };
  if (kind === "cpu") {
    const [{ model }] = os.cpus();
    return { machine: { name: `${model.trim()}, ${os.cpus().length} threads`, os: system }, versions };
  }
  const vendor = /nvidia/i.test(description) ? nvidia() : undefined;
  // Other arithmetic than float32's: a recording of its own.
  const units = device.limits.features.has(matrixUnitsFeature) ? ", matrix units" : "";
  const name = vendor ? `${vendor.name}${units}` : description;
  return { machine: { name, driver: vendor?.driver, os: system }, versions };
}

/** Ways timed before a bench begins: once in each process, so that no bench rests on older figures. */
function showTuned({ found, ms }: Tuned): void {
  console.log(`timed the ways of ${found.length} keys in ${ms.toFixed(0)} ms:`);
  for (const { kernel, key, way } of found) console.log(`  ${kernel} ${key}: ${way}`);
}

function onCpu(quick: boolean): OpenBenchDevice {
  // On this thread: what is run is done when `run` returns, and wall time is its own.
  const device = cpuDevice();
  return { device, quick, ...machineOf(device) };
}

function onGpu(opened: OpenGpu, quick: boolean): OpenBenchDevice {
  const { device: gpu, description, software, matrixUnits, destroy } = opened;
  const tuning = software ? undefined : { onTuned: showTuned };
  const device = webgpuDevice(gpu, { description, matrixUnits, destroy, tuning });
  return { device, quick: quick || software, ...machineOf(device) };
}

/** The device to bench on. */
export interface BenchDeviceOptions {
  readonly kind: "auto" | "webgpu" | "cpu";
  readonly quick: boolean;
  /** Whether products by float16 weights run on matrix units, where the GPU has them. */
  readonly matrixUnits: boolean;
}

/** Opens the device to bench: a hardware GPU if there is one, else the CPU, unless one is asked for. */
export async function openBenchDevice(
  { kind, quick, matrixUnits }: BenchDeviceOptions,
): Promise<OpenBenchDevice> {
  if (kind === "cpu") return onCpu(quick);
  try {
    const gpu = await openGpu({ matrixUnits });
    if (kind === "webgpu" || !gpu.software) return onGpu(gpu, quick);
    gpu.destroy();
  } catch (error) {
    if (kind === "webgpu") throw error;
  }
  console.log("no GPU: benches run on the CPU device (--software takes a software GPU, at small sizes)");
  return onCpu(quick);
}

/**
 * The devices that tests run on: the CPU device, with WASM and without, and the WebGPU device, opened once.
 *
 * @module
 */
import process from "node:process";
import { wasmBytes } from "../kernels/wasm_bytes.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { openGpuOf } from "../src/device/open_gpu.ts";
import { type WebGpuDevice, webgpuDevice } from "../src/device/webgpu.ts";
import { dawn, openGpu, type OpenGpuOptions } from "../src/runtime/gpu.ts";
import { openCpuDevice } from "../src/runtime/open_cpu.ts";

/** Whether all tests are asked for: a software GPU then takes hours. */
export const everything = process.env.FOURIERFT_TEST_ALL === "1";

/**
 * Whether a GPU is tested in every case: on Deno by Dawn. Bun opens the same Dawn, and Deno's own GPU has another
 * compiler. A case of each kind shows that both are right; a software GPU takes seconds to compile a case.
 */
export const everyGpuCase = everything ||
  !("Bun" in globalThis || process.env.FOURIERFT_GPU === "navigator");

/** Whether FOURIERFT_TEST_GPU=none leaves tests the CPU of this thread alone, as mutation runs do in thousands of processes. */
const alone = process.env.FOURIERFT_TEST_GPU === "none";

/** Options of a test that opens a GPU by itself. */
export const onGpu = { skip: alone ? "FOURIERFT_TEST_GPU=none" : false };

/** Options of a test for Dawn on Deno alone. */
export const inEveryGpuCase = {
  skip: everyGpuCase ? false : "set FOURIERFT_TEST_ALL=1: Deno's tests by Dawn run it",
};

let webgpu: Promise<WebGpuDevice> | undefined;
let matrixUnits: Promise<WebGpuDevice> | undefined;

/**
 * Dawn asks the global `setImmediate` for each next look at what it waits for. On a software device that busy loop
 * takes half the machine from the work it waits for. `deno test` is slower still at collecting the garbage of every
 * look.
 */
function lookOnceAMillisecond(): void {
  const later = (look: () => void, ...args: []): unknown => setTimeout(look, 1, ...args);
  Object.assign(globalThis, { setImmediate: later });
}

/**
 * Dawn fills workgroup memory with zeros before a kernel starts, and bounds each index. The texts of both take a software
 * GPU more than half of the time that it compiles. Without them a kernel must not read what it has not written, nor write
 * where nothing is. Naga's and Chromium's tests fill and bound.
 */
const onSoftware = process.env.FOURIERFT_TEST_GPU === "native"
  ? []
  : ["disable_workgroup_init", "disable_robustness"];

/** Whether the GPU alone is tested, by the runtime's own `navigator.gpu`: Deno's tests by Dawn have run the CPU. */
const isNavigator = process.env.FOURIERFT_GPU === "navigator";

async function open(options: OpenGpuOptions = {}): Promise<WebGpuDevice> {
  lookOnceAMillisecond();
  try {
    const { device, description, matrixUnits, destroy } = isNavigator
      ? await openGpu({ ...options, prefer: "navigator" })
      : await openGpuOf(await dawn(options, onSoftware), options);
    // Bun aborts when Dawn settles `device.lost` at exit, and Deno in one of twenty times when its own GPU is destroyed
    // there. With the device open Bun ends in peace, and Deno in all but one of a hundred runs.
    if (!isNavigator && !("Bun" in globalThis)) process.once("exit", destroy);
    return webgpuDevice(device, { description, matrixUnits, destroy });
  } catch (error) {
    throw new Error(`No GPU to test on: run by \`deno task test\`, which brings one. ${error}`, {
      cause: error,
    });
  }
}

/**
 * The WebGPU device of this process. A missing adapter is a failure, not a skip.
 *
 * Dawn, unless FOURIERFT_GPU=navigator asks for the runtime's own `navigator.gpu`.
 */
export function testGpu(): Promise<WebGpuDevice> {
  return webgpu ??= open();
}

/** The same GPU opened for products on matrix units; its limits say whether it has them. */
export function testGpuWithMatrixUnits(): Promise<WebGpuDevice> {
  return matrixUnits ??= open({ matrixUnits: true });
}

/**
 * A device of each kind that tests have, as users get it. For the runtime's own GPU that is the GPU alone: Deno's tests
 * by Dawn have run the CPU.
 */
export async function testDevices(): Promise<Device[]> {
  if (isNavigator) return [await testGpu()];
  return alone ? [cpuDevice()] : [cpuDevice(), await testGpu()];
}

/** The same, for tests that give a GPU dozens of texts which others have tested: it is there where every case is. */
export async function devicesForLongTests(): Promise<Device[]> {
  return everyGpuCase ? await testDevices() : [cpuDevice()];
}

/** Every way there is to run a kernel, by its name: on the CPU with WASM of either module and without, and in a thread of its own. */
export async function everyDevice(): Promise<ReadonlyMap<string, Device>> {
  if (isNavigator) return new Map([["webgpu", await testGpu()]]);
  const here: [string, Device][] = [
    ["cpu", cpuDevice()],
    ["cpu with plain SIMD", cpuDevice({ wasm: new WebAssembly.Module(wasmBytes()) })],
    ["cpu without WASM", cpuDevice({ wasm: false })],
  ];
  if (alone) return new Map(here);
  return new Map([
    ...here,
    ["cpu in a thread of its own", await openCpuDevice({ threads: 1 })],
    ["webgpu", await testGpu()],
  ]);
}

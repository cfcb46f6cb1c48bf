/**
 * Opens the CPU device with threads of its own on Deno, Bun and Node.
 *
 * @module
 */
import type { CpuDeviceOptions } from "../device/cpu.ts";
import type { ThreadSetup } from "../device/cpu_commands.ts";
import type { Device } from "../device/device.ts";
import { openCpuDeviceBy, type Starters, startThreads } from "../device/open_cpu.ts";
import type { ModuleWorker } from "../device/worker.ts";
import { physicalCores } from "./cores.ts";
import { startWorker } from "./worker.ts";

const starters: Starters = {
  leader: () => startWorker(new URL("./cpu_worker.ts", import.meta.url)),
  helper: () => startWorker(new URL("./cpu_helper.ts", import.meta.url)),
  cores: physicalCores,
};

/** Starts a device's threads. */
export function startCpuThreads(setup: ThreadSetup, threads: number): Promise<ModuleWorker> {
  return startThreads(starters, setup, threads);
}

/**
 * Opens the CPU device with threads of its own: the calling thread, which may serve others, goes on while they compute.
 * All threads see the tensors' memory. Where the runtime lacks workers or `SharedArrayBuffer`, and with `worker: false`,
 * this is `cpuDevice`, on the calling thread; `description` says which, and why.
 *
 * A plan with a kernel that the package does not have runs on the calling thread, in its turn. An error of a kernel
 * rejects the reads that come after it. Should a thread die, pending and later calls fail with a `DeviceError` that
 * says why. A process may end while the device is open, but not while something is read. `destroy` ends the threads.
 *
 * @throws RangeError for `threads` out of range.
 * @throws DeviceError where `threads` asks for more than one and they cannot be had.
 */
export function openCpuDevice(options: CpuDeviceOptions = {}): Promise<Device> {
  return openCpuDeviceBy(starters, options);
}

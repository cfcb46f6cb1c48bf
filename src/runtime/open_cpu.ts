/**
 * Opens the CPU device with a thread of its own on Deno, Bun and Node.
 *
 * @module
 */
import type { CpuDeviceOptions } from "../device/cpu.ts";
import type { ThreadSetup } from "../device/cpu_commands.ts";
import type { Device } from "../device/device.ts";
import { openCpuDeviceBy, startThread } from "../device/open_cpu.ts";
import type { ModuleWorker } from "../device/worker.ts";
import { startWorker } from "./worker.ts";

const start = (): Promise<ModuleWorker> => startWorker(new URL("./cpu_worker.ts", import.meta.url));

/** Starts a device's thread. */
export function startCpuThread(setup: ThreadSetup): Promise<ModuleWorker> {
  return startThread(start, setup);
}

/**
 * Opens the CPU device with a thread of its own: the calling thread, which may serve others, goes on while it computes.
 * Both threads see the tensors' memory. Where the runtime lacks workers or `SharedArrayBuffer`, and with `worker: false`,
 * this is `cpuDevice`, on the calling thread; `description` says which, and why.
 *
 * A plan with a kernel that the package does not have runs on the calling thread, in its turn. An error of a kernel
 * rejects the reads that come after it. Should the thread die, pending and later calls fail with a `DeviceError` that
 * says why. A process may end while the device is open, but not while something is read. `destroy` ends the thread.
 */
export function openCpuDevice(options: CpuDeviceOptions = {}): Promise<Device> {
  return openCpuDeviceBy(start, options);
}

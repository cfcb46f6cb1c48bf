/**
 * Opens the CPU device with a thread of its own, where the runtime has threads that share memory.
 *
 * @module
 */
import { cpuDevice, type CpuDeviceOptions } from "../device/cpu.ts";
import type { ThreadSetup } from "../device/cpu_commands.ts";
import type { Device } from "../device/device.ts";
import { sharedModule } from "../device/shared_memory.ts";
import { threadedCpuDevice } from "../device/threaded_cpu.ts";
import { type ModuleWorker, startWorker } from "./worker.ts";

/** Starts the thread; resolves when it has what it needs, so that a bundle without its module shows here. */
export async function startCpuThread(setup: ThreadSetup): Promise<ModuleWorker> {
  const worker = await startWorker({
    url: new URL("./cpu_worker.ts", import.meta.url),
    web: () => new Worker(new URL("./cpu_worker.ts", import.meta.url), { type: "module" }),
  });
  try {
    await handshake(worker, setup);
    return worker;
  } catch (error) {
    worker.end();
    throw error;
  }
}

async function handshake(worker: ModuleWorker, setup: ThreadSetup): Promise<void> {
  worker.keepAlive(true);
  await new Promise<void>((resolve, reject) => {
    worker.onMessage(() => resolve());
    worker.onEnd((reason) => reject(new Error(reason)));
    worker.post(setup);
  });
  worker.keepAlive(false);
}

/**
 * Opens the CPU device with a thread of its own: the calling thread, which may serve others, goes on while it computes.
 * Both threads see the tensors' memory, so the runtime must have workers and `SharedArrayBuffer` (a page must be
 * cross-origin isolated). Elsewhere, and with `worker: false`, this is `cpuDevice`, on the calling thread; `description`
 * says which, and why.
 *
 * A plan with a kernel that the package does not have runs on the calling thread, in its turn. An error of a kernel
 * rejects the reads that come after it. Should the thread die, pending and later calls fail with a `DeviceError` that
 * says why. A process may end while the device is open, but not while something is read. `destroy` ends the thread.
 */
export async function openCpuDevice(options: CpuDeviceOptions = {}): Promise<Device> {
  if (options.worker === false) return cpuDevice(options);
  try {
    if (typeof SharedArrayBuffer !== "function") throw new Error("there is no SharedArrayBuffer");
    const module = options.wasm === false ? undefined : options.wasm ?? sharedModule();
    return await threadedCpuDevice(module, startCpuThread);
  } catch (error) {
    const device = cpuDevice(options);
    const description = `${device.description.slice(0, -1)}: ${(error as Error).message})`;
    return { ...device, description };
  }
}

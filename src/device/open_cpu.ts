/**
 * Opens the CPU device with a thread of its own, where there are threads that share memory.
 *
 * @module
 */
import { cpuDevice, type CpuDeviceOptions } from "./cpu.ts";
import type { ThreadSetup } from "./cpu_commands.ts";
import type { Device } from "./device.ts";
import { sharedModule } from "./shared_memory.ts";
import { threadedCpuDevice } from "./threaded_cpu.ts";
import { type ModuleWorker, webWorker } from "./worker.ts";

/** Starts the thread's module. */
export type StartWorker = () => ModuleWorker | Promise<ModuleWorker>;

async function handshake(worker: ModuleWorker, setup: ThreadSetup): Promise<void> {
  worker.keepAlive(true);
  await new Promise<void>((resolve, reject) => {
    worker.onMessage(() => resolve());
    worker.onEnd((reason) => reject(new Error(reason)));
    worker.post(setup);
  });
  worker.keepAlive(false);
}

/** Starts a device's thread; resolves when it has what it needs, so that a bundle without its module shows here. */
export async function startThread(start: StartWorker, setup: ThreadSetup): Promise<ModuleWorker> {
  const worker = await start();
  try {
    await handshake(worker, setup);
    return worker;
  } catch (error) {
    worker.end();
    throw error;
  }
}

/** Opens the CPU device with a thread that `start` starts, or on the calling thread where that cannot be. */
export async function openCpuDeviceBy(start: StartWorker, options: CpuDeviceOptions): Promise<Device> {
  if (options.worker === false) return cpuDevice(options);
  try {
    if (typeof SharedArrayBuffer !== "function") throw new Error("there is no SharedArrayBuffer");
    const module = options.wasm === false ? undefined : options.wasm ?? sharedModule();
    return await threadedCpuDevice(module, (setup) => startThread(start, setup));
  } catch (error) {
    const device = cpuDevice(options);
    const description = `${device.description.slice(0, -1)}: ${(error as Error).message})`;
    return { ...device, description };
  }
}

function startWebWorker(): ModuleWorker {
  const { crossOriginIsolated } = globalThis as { readonly crossOriginIsolated?: boolean };
  if (crossOriginIsolated !== true) throw new Error("this is no cross-origin isolated page");
  // Written out for bundlers to see.
  return webWorker(new Worker(new URL("./cpu_worker.ts", import.meta.url), { type: "module" }));
}

/**
 * Opens the CPU device of a page with a thread of its own: the page goes on while the device computes. Both threads see the
 * tensors' memory, so the page must be cross-origin isolated. Elsewhere, and with `worker: false`, this is `cpuDevice`, on
 * the calling thread; `description` says which, and why. On Deno, Bun and Node `openCpuDevice` of `fourierft/node` starts
 * a thread.
 *
 * A plan with a kernel that the package does not have runs on the calling thread, in its turn. An error of a kernel
 * rejects the reads that come after it. Should the thread die, pending and later calls fail with a `DeviceError` that
 * says why. `destroy` ends the thread.
 */
export function openCpuDevice(options: CpuDeviceOptions = {}): Promise<Device> {
  return openCpuDeviceBy(startWebWorker, options);
}

/**
 * Opens the CPU device with threads of its own, where there are threads that share memory.
 *
 * @module
 */
import { cpuDevice, type CpuDeviceOptions } from "./cpu.ts";
import type { ThreadSetup } from "./cpu_commands.ts";
import { type HelperSetup, mostThreads } from "./cpu_team.ts";
import { type Device, DeviceError } from "./device.ts";
import { sharedModule } from "./shared_memory.ts";
import { threadedCpuDevice } from "./threaded_cpu.ts";
import { checkProducts } from "./wasm.ts";
import { type ModuleWorker, webWorker, WorkerEnd } from "./worker.ts";

/** How threads are started here. */
export interface Starters {
  /** Starts the module of the thread that takes commands. */
  readonly leader: () => ModuleWorker | Promise<ModuleWorker>;
  /** Starts the module of a thread that helps it. */
  readonly helper: () => ModuleWorker | Promise<ModuleWorker>;
  /** How many threads a device has that nobody gave a number; at least 1. */
  readonly cores: () => number | Promise<number>;
}

/** Threads of a device that nobody gave a number, at most: more were not measured. */
export const mostThreadsByDefault = 16;

async function handshake(worker: ModuleWorker, setup: ThreadSetup | HelperSetup): Promise<void> {
  worker.keepAlive(true);
  await new Promise<void>((resolve, reject) => {
    worker.onMessage(() => resolve());
    worker.onEnd((reason) => reject(new Error(reason)));
    worker.post(setup);
  });
  worker.keepAlive(false);
}

/** Starts a thread, and resolves when the thread has loaded its modules: a bundle without them fails here. */
async function startThread(
  start: Starters["leader"],
  setup: ThreadSetup | HelperSetup,
): Promise<ModuleWorker> {
  const worker = await start();
  try {
    await handshake(worker, setup);
    return worker;
  } catch (error) {
    worker.end();
    throw error;
  }
}

/** A team as one thread: the leader, which ends with the first of them that ends. */
function together(leader: ModuleWorker, helpers: readonly ModuleWorker[]): ModuleWorker {
  const end = new WorkerEnd();
  leader.onEnd((reason) => end.tell(reason));
  for (const [i, helper] of helpers.entries()) {
    helper.onEnd((reason) => end.tell(`thread ${i + 2} of ${helpers.length + 1} is gone: ${reason}`));
  }
  return {
    ...leader,
    onEnd: (hear) => end.onEnd(hear),
    end() {
      end.tell("its threads were ended");
      for (const worker of [leader, ...helpers]) worker.end();
    },
  };
}

/**
 * Starts a device's threads.
 *
 * @throws Error where one cannot start; the others are then ended.
 */
export async function startThreads(
  starters: Pick<Starters, "leader" | "helper">,
  setup: ThreadSetup,
  threads: number,
): Promise<ModuleWorker> {
  const { module, memory, control } = setup;
  const starting = [startThread(starters.leader, setup)];
  for (let thread = 1; control && module && thread < threads; thread++) {
    starting.push(startThread(starters.helper, { module, memory, control, thread }));
  }
  const started = await Promise.allSettled(starting);
  const workers = started.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
  const failed = started.findIndex(({ status }) => status === "rejected");
  if (failed >= 0) {
    for (const worker of workers) worker.end();
    const reason = (started[failed] as PromiseRejectedResult).reason as Error;
    throw threads === 1
      ? reason
      : new Error(`thread ${failed + 1} of ${threads} did not start: ${reason.message}`);
  }
  const [leader, ...helpers] = workers;
  return helpers.length === 0 ? leader : together(leader, helpers);
}

function checkThreads(threads: number | undefined): void {
  if (threads === undefined || Number.isInteger(threads) && threads >= 1 && threads <= mostThreads) return;
  throw new RangeError(
    `Cannot use "threads" = ${threads}: it must be a whole number from 1 to ${mostThreads}`,
  );
}

/** Opens the CPU device with threads that `starters` start, or on the calling thread where that cannot be. */
export async function openCpuDeviceBy(starters: Starters, options: CpuDeviceOptions): Promise<Device> {
  checkThreads(options.threads);
  checkProducts(options.products);
  if (options.worker === false || options.wasm === false && (options.threads ?? 1) > 1) {
    return cpuDevice(options);
  }
  try {
    if (typeof SharedArrayBuffer !== "function") throw new Error("there is no SharedArrayBuffer");
    const module = options.wasm === false ? undefined : options.wasm ?? sharedModule();
    const threads = options.threads ?? Math.min(mostThreadsByDefault, await starters.cores());
    const start = (setup: ThreadSetup, held: number) => startThreads(starters, setup, held);
    return await threadedCpuDevice(module, start, { threads, products: options.products });
  } catch (error) {
    if (error instanceof DeviceError) throw error;
    const { message } = error as Error;
    if ((options.threads ?? 1) > 1) {
      throw new DeviceError(
        `Cannot open the CPU device with ${options.threads} threads: ${message}. ` +
          `Open it with fewer, or without "threads".`,
      );
    }
    const device = cpuDevice(options);
    const description = `${device.description.slice(0, -1)}: ${message})`;
    return { ...device, description };
  }
}

function isolated(): void {
  const { crossOriginIsolated } = globalThis as { readonly crossOriginIsolated?: boolean };
  if (crossOriginIsolated !== true) throw new Error("this is no cross-origin isolated page");
}

/** The URLs are written out for bundlers to see. */
const pageStarters: Starters = {
  leader() {
    isolated();
    return webWorker(new Worker(new URL("./cpu_worker.ts", import.meta.url), { type: "module" }));
  },
  helper() {
    isolated();
    return webWorker(new Worker(new URL("./cpu_helper.ts", import.meta.url), { type: "module" }));
  },
  // A page cannot ask for cores: two threads of a core are usual.
  cores: () => Math.ceil(navigator.hardwareConcurrency / 2),
};

/**
 * Opens the CPU device of a page with threads of its own: the page goes on while the device computes. All threads see the
 * tensors' memory, so the page must be cross-origin isolated. Elsewhere, and with `worker: false`, this is `cpuDevice`, on
 * the calling thread; `description` says which, and why. On Deno, Bun and Node `openCpuDevice` of `fourierft/node` starts
 * threads.
 *
 * A plan with a kernel that the package does not have runs on the calling thread, in its turn. An error of a kernel
 * rejects the reads that come after it. Should a thread die, pending and later calls fail with a `DeviceError` that
 * says why. `destroy` ends the threads.
 *
 * @throws RangeError for `threads` out of range.
 * @throws DeviceError where `threads` asks for more than one and they cannot be had, and for `products` where there is no
 * relaxed SIMD.
 */
export function openCpuDevice(options: CpuDeviceOptions = {}): Promise<Device> {
  return openCpuDeviceBy(pageStarters, options);
}

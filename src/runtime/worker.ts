/**
 * A module that runs on a thread of its own on Deno, Bun and Node, whose process may end before it.
 *
 * @module
 */
import { type ModuleWorker, WorkerEnd } from "../device/worker.ts";
import { importOptional } from "./runtime.ts";

/** What is used of a worker of `node:worker_threads`. */
interface NodeWorker {
  postMessage(message: unknown): void;
  on(event: string, hear: (value: unknown) => void): void;
  ref(): void;
  unref(): void;
  terminate(): Promise<number>;
}

interface WorkerThreads {
  readonly Worker: new (url: URL) => NodeWorker;
}

const threads = (): Promise<WorkerThreads> => importOptional("node:worker_threads");

/**
 * Starts a module on a thread of its own.
 *
 * @throws Error where the runtime has no threads, and for a module that is no file. A module that cannot be loaded is an
 * end instead.
 */
export async function startWorker(url: URL): Promise<ModuleWorker> {
  if (url.protocol !== "file:") throw new Error(`Cannot start a worker of "${url}": it must be a file`);
  const { Worker } = await threads();
  const worker = new Worker(url);
  const end = new WorkerEnd();
  // Without a listener an error would end the process.
  worker.on("error", (error) => end.tell(`its worker failed: ${(error as Error)?.message ?? error}`));
  worker.on("exit", (code) => end.tell(`its worker ended with code ${code}`));
  worker.unref();
  return {
    post: (message) => worker.postMessage(message),
    onMessage: (hear) => worker.on("message", hear),
    onEnd: (hear) => end.onEnd(hear),
    keepAlive(on) {
      if (end.told) return;
      if (on) worker.ref();
      else worker.unref();
    },
    end() {
      end.tell("its worker was ended");
      worker.terminate();
    },
  };
}

/**
 * A module that runs on a thread of its own, started the same way on every runtime: `node:worker_threads` on Deno, Bun and
 * Node, whose process may end before it, and a web `Worker` in browsers.
 *
 * @module
 */
import { importOptional, runtimeName } from "./runtime.ts";

/** A thread that was started. Messages are copied, or shared where they can be. */
export interface ModuleWorker {
  post(message: unknown): void;
  onMessage(hear: (message: unknown) => void): void;
  /** What has ended it, once: an error that nothing caught, or its end. */
  onEnd(hear: (reason: string) => void): void;
  /** Whether the process may not end before it; a new one keeps no process alive. */
  keepAlive(on: boolean): void;
  end(): void;
}

/** Where the thread's module is. */
export interface WorkerSource {
  /** For `node:worker_threads`. */
  readonly url: URL;
  /** `() => new Worker(new URL("./NAME.ts", import.meta.url), { type: "module" })`, written out for bundlers to see. */
  readonly web: () => Worker;
}

/** What is used of a worker and of a port of `node:worker_threads`. */
interface NodePort {
  postMessage(message: unknown): void;
  on(event: string, hear: (value: unknown) => void): void;
}

interface NodeWorker extends NodePort {
  ref(): void;
  unref(): void;
  terminate(): Promise<number>;
}

interface WorkerThreads {
  readonly Worker: new (url: URL) => NodeWorker;
  readonly parentPort: NodePort | null;
}

const threads = (): Promise<WorkerThreads> => importOptional("node:worker_threads");

/** A listener that hears the first reason alone. */
function once(hear: (reason: string) => void): (reason: string) => void {
  let told = false;
  return (reason) => {
    if (!told) hear(reason);
    told = true;
  };
}

async function nodeWorker(url: URL): Promise<ModuleWorker> {
  const { Worker } = await threads();
  const worker = new Worker(url);
  let ended = false;
  worker.on("exit", () => ended = true);
  // Without a listener an error would end the process.
  worker.on("error", () => ended = true);
  worker.unref();
  return {
    post: (message) => worker.postMessage(message),
    onMessage: (hear) => worker.on("message", hear),
    onEnd(hear) {
      const tell = once(hear);
      worker.on("error", (error) => tell(`its worker failed: ${(error as Error)?.message ?? error}`));
      worker.on("exit", (code) => tell(`its worker ended with code ${code}`));
    },
    keepAlive(on) {
      if (ended) return;
      if (on) worker.ref();
      else worker.unref();
    },
    end() {
      ended = true;
      worker.terminate();
    },
  };
}

function webWorker(worker: Worker): ModuleWorker {
  return {
    post: (message) => worker.postMessage(message),
    onMessage: (hear) => worker.addEventListener("message", ({ data }) => hear(data)),
    onEnd(hear) {
      const tell = once(hear);
      worker.addEventListener("error", (event) => {
        event.preventDefault();
        tell(`its worker failed: ${event.message || "it cannot be loaded"}`);
      });
      worker.addEventListener("messageerror", () => tell("its worker cannot read a message"));
    },
    keepAlive() {},
    end: () => worker.terminate(),
  };
}

/**
 * Starts a module on a thread of its own.
 *
 * @throws Error where the runtime has no threads; a module that cannot be loaded is an end instead.
 */
export async function startWorker({ url, web }: WorkerSource): Promise<ModuleWorker> {
  if (runtimeName() === "browser") return webWorker(web());
  if (url.protocol !== "file:") throw new Error(`Cannot start a worker of "${url}": it must be a file`);
  return await nodeWorker(url);
}

/** Inside such a module: hears messages of the thread that started it, and gives the way to answer. */
export async function onStarter(
  hear: (message: unknown, answer: (message: unknown) => void) => void,
): Promise<void> {
  if (runtimeName() === "browser") {
    // At once: a page's messages are lost on a worker that does not listen when its module has run.
    const scope = globalThis as unknown as Worker;
    scope.addEventListener("message", ({ data }) => hear(data, (message) => scope.postMessage(message)));
    return;
  }
  const port = (await threads()).parentPort;
  if (!port) throw new Error("Cannot listen to a starter: this module does not run in a worker");
  port.on("message", (message) => hear(message, (answer) => port.postMessage(answer)));
}

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
  /** Hears once why it ended: an error that nothing caught, or its exit; at once where it has ended already. */
  onEnd(hear: (reason: string) => void): void;
  /** Whether the process may not end before it; a new one keeps no process alive. */
  keepAlive(on: boolean): void;
  end(): void;
}

/** What is used of a page's `Worker`, whose type a program for Node may lack. */
export interface WebWorker {
  postMessage(message: unknown): void;
  addEventListener(
    type: "message" | "error" | "messageerror",
    hear: (event: { readonly data?: unknown; readonly message?: string; preventDefault(): void }) => void,
  ): void;
  terminate(): void;
}

/** Where the thread's module is. */
export interface WorkerSource {
  /** For `node:worker_threads`. */
  readonly url: URL;
  /** `() => new Worker(new URL("./NAME.ts", import.meta.url), { type: "module" })`, written out for bundlers to see. */
  readonly web: () => WebWorker;
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

/** Why a thread ended, for all who ask. */
class End {
  #reason: string | undefined;
  readonly #hearers: ((reason: string) => void)[] = [];

  get told(): boolean {
    return this.#reason !== undefined;
  }

  /** The first reason counts. */
  tell(reason: string): void {
    if (this.told) return;
    this.#reason = reason;
    for (const hear of this.#hearers.splice(0)) hear(reason);
  }

  onEnd(hear: (reason: string) => void): void {
    if (this.#reason === undefined) this.#hearers.push(hear);
    else hear(this.#reason);
  }
}

async function nodeWorker(url: URL): Promise<ModuleWorker> {
  const { Worker } = await threads();
  const worker = new Worker(url);
  const end = new End();
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

function webWorker(worker: WebWorker): ModuleWorker {
  const end = new End();
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    end.tell(`its worker failed: ${event.message || "it cannot be loaded"}`);
  });
  worker.addEventListener("messageerror", () => end.tell("its worker cannot read a message"));
  return {
    post: (message) => worker.postMessage(message),
    onMessage: (hear) => worker.addEventListener("message", ({ data }) => hear(data)),
    onEnd: (hear) => end.onEnd(hear),
    keepAlive() {},
    end() {
      end.tell("its worker was ended");
      worker.terminate();
    },
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
    const scope = globalThis as unknown as WebWorker;
    scope.addEventListener("message", ({ data }) => hear(data, (message) => scope.postMessage(message)));
    return;
  }
  const port = (await threads()).parentPort;
  if (!port) throw new Error("Cannot listen to a starter: this module does not run in a worker");
  port.on("message", (message) => hear(message, (answer) => port.postMessage(answer)));
}

/**
 * A module that runs on a thread of its own, as the thread that started it sees it; and a page's.
 *
 * @module
 */

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

/** The used part of a page's `Worker`, whose type a program for Node may lack. */
export interface WebWorker {
  postMessage(message: unknown): void;
  addEventListener(
    type: "message" | "error" | "messageerror",
    hear: (event: { readonly data?: unknown; readonly message?: string; preventDefault(): void }) => void,
  ): void;
  terminate(): void;
}

/** Why a thread ended, for all who ask. */
export class WorkerEnd {
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

/** A page's worker; a module that cannot be loaded is an end. */
export function webWorker(worker: WebWorker): ModuleWorker {
  const end = new WorkerEnd();
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

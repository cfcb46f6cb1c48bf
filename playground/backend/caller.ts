/**
 * Calls of a worker's methods: answers and events by the call's number.
 *
 * @module
 */
import type { Answer, MethodName, Methods, Request } from "../worker/protocol.ts";

/** What is used of a `Worker`. */
export interface WorkerPort {
  postMessage(message: Request): void;
  addEventListener(
    type: "message" | "error",
    hear: (event: { readonly data?: Answer; readonly message?: string }) => void,
  ): void;
  terminate(): void;
}

/** How a call is made. */
export interface CallOptions<Event> {
  readonly onEvent?: (event: Event) => void;
  /** Aborting tells the worker, and rejects at once with the signal's reason. */
  readonly signal?: AbortSignal;
}

interface Pending {
  readonly onEvent: (event: unknown) => void;
  readonly resolve: (output: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** See the module's documentation. */
export class Caller {
  readonly #pending = new Map<number, Pending>();
  #last = 0;
  #ended: Error | undefined;

  constructor(private readonly worker: WorkerPort) {
    worker.addEventListener("message", ({ data }) => data && this.#hear(data));
    worker.addEventListener("error", ({ message }) => {
      this.end(`Cannot go on: the page's worker failed: ${message || "it cannot be loaded"}`);
    });
  }

  call<Name extends MethodName>(
    method: Name,
    input: Methods[Name]["input"],
    { onEvent, signal }: CallOptions<Methods[Name]["event"]> = {},
  ): Promise<Methods[Name]["output"]> {
    if (this.#ended) return Promise.reject(this.#ended);
    if (signal?.aborted) return Promise.reject(signal.reason);
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#pending.delete(id);
        this.worker.postMessage({ kind: "abort", id });
        reject(signal!.reason);
      };
      const left = <Value>(next: (value: Value) => void) => (value: Value): void => {
        signal?.removeEventListener("abort", abort);
        next(value);
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#pending.set(id, {
        onEvent: (event) => onEvent?.(event as Methods[Name]["event"]),
        resolve: left((output) => resolve(output as Methods[Name]["output"])),
        reject: left(reject),
      });
      this.worker.postMessage({ kind: "call", id, method, input });
    });
  }

  /** Ends the worker; pending and later calls fail. */
  end(why = "Cannot go on: the model was closed"): void {
    this.#ended ??= new Error(why);
    this.worker.terminate();
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }

  #hear(answer: Answer): void {
    const pending = this.#pending.get(answer.id);
    if (!pending) return;
    if (answer.kind === "event") return pending.onEvent(answer.event);
    this.#pending.delete(answer.id);
    if (answer.kind === "done") pending.resolve(answer.output);
    else pending.reject(new Error(answer.message));
  }
}

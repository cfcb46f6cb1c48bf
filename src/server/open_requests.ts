/**
 * Requests for work that are open, and how a server that stops lets them end.
 *
 * @module
 */
import { OverloadedError } from "../errors.ts";
import { DeadlineError, NotReadyError } from "./errors.ts";

/** One open request. */
export interface OpenRequest {
  /** Aborted when the client leaves, at the request's deadline, and at a stopping server's. */
  readonly signal: AbortSignal;
  /** Its answer is complete, or nobody waits any more; harmless twice. */
  end(): void;
}

/**
 * Every open request for work. Give one to `createApp`, and call {@linkcode OpenRequests.drain} to stop in peace.
 */
export class OpenRequests {
  readonly #open = new Set<AbortController>();
  #draining = false;
  #emptied = (): void => {};

  /** Requests that are open now. */
  get size(): number {
    return this.#open.size;
  }

  /** Whether no new work is taken any more. */
  get draining(): boolean {
    return this.#draining;
  }

  /**
   * Counts a request in.
   *
   * @param client Aborted when the client leaves.
   * @param most Requests that may be open at once.
   * @param seconds Time until the request is cut; absent: as long as it takes.
   * @throws NotReadyError while draining; OverloadedError when `most` are open.
   */
  begin(client: AbortSignal, most: number, seconds: number = Infinity): OpenRequest {
    if (this.#draining) throw new NotReadyError("Cannot take new work: the server is stopping");
    if (this.#open.size >= most) {
      throw new OverloadedError(`Cannot take another request: ${this.#open.size} are open already`);
    }
    const controller = new AbortController();
    const leave = (): void => controller.abort(client.reason);
    if (client.aborted) leave();
    client.addEventListener("abort", leave, { once: true });
    this.#open.add(controller);
    const late = (): void =>
      controller.abort(new DeadlineError(`Cannot finish this request: its ${seconds} s are over`));
    // Timers take no longer times; those are as good as none.
    const timer = 1000 * seconds < 2 ** 31 ? setTimeout(late, 1000 * seconds) : undefined;
    return {
      signal: controller.signal,
      end: () => {
        clearTimeout(timer);
        client.removeEventListener("abort", leave);
        this.#open.delete(controller);
        if (this.#open.size === 0) this.#emptied();
      },
    };
  }

  /**
   * Takes no new work, and waits until open requests have ended. The deadline cuts the others: a stream's last event
   * is an error, other requests are answered 503.
   *
   * @returns How many were cut.
   */
  async drain(deadlineMs: number): Promise<number> {
    this.#draining = true;
    if (this.#open.size === 0) return 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([
      new Promise<void>((resolve) => this.#emptied = resolve),
      new Promise<void>((resolve) => timer = setTimeout(resolve, deadlineMs)),
    ]);
    clearTimeout(timer);
    const cut = [...this.#open];
    const reason = new NotReadyError("Cannot finish this request: the server has stopped");
    for (const controller of cut) controller.abort(reason);
    return cut.length;
  }
}

/**
 * Commands for the CPU device's thread, in one order, and what has to wait for them.
 *
 * Some work stays on the calling thread: a kernel that the other does not know, or many bytes to copy. Such work takes
 * its turn: it waits until the commands before it are done, and all later commands wait for it. Commands that find no
 * room in the ring wait, too.
 *
 * @module
 */
import {
  type Command,
  counters,
  type Failure,
  op,
  putCommand,
  ringCapacity,
  type ThreadMessage,
  type TimedCall,
} from "./cpu_commands.ts";
import { DeviceError } from "./device.ts";

/** A thread that a device's commands run on. */
export interface Thread {
  post(message: unknown): void;
  onMessage(hear: (message: unknown) => void): void;
  /** Hears once why it ended, whatever the reason; at once where it has ended already. */
  onEnd(hear: (reason: string) => void): void;
  /** Whether the process may not end before it. */
  keepAlive(on: boolean): void;
  end(): void;
}

/** Somebody who waits for all that was asked for before. */
interface Waiter {
  /** Commands in the ring up to its own; unknown until it is there. */
  number?: number;
  /** What went wrong before it. */
  error?: Error;
  resolve(trace: readonly TimedCall[] | undefined): void;
  reject(error: Error): void;
}

/** A turn in the order: a command, work of this thread, or neither. */
interface Turn {
  readonly command?: Command;
  readonly here?: () => void;
  readonly waiter?: Waiter;
  /** Called some time after it is done; no later turn depends on it. */
  readonly after?: () => void;
}

const errorTypes: Readonly<Record<string, new (message: string) => Error>> = {
  RangeError,
  TypeError,
  SyntaxError,
};

function errorOf({ kernel, name, message }: Failure): Error {
  const what = kernel ? `the kernel "${kernel}"` : "a command of the CPU device";
  return new (errorTypes[name] ?? Error)(
    `Cannot run ${what}: ${name === "Error" ? "" : `${name}: `}${message}`,
  );
}

/** See the module's documentation. */
export class CommandQueue {
  /** Commands put into the ring so far, and how many of them are done as far as is known. */
  #sent = 0;
  #done = 0;
  /** Commands up to the last one that the thread will tell of. */
  #told = 0;
  #failures = 0;
  readonly #turns: Turn[] = [];
  readonly #waiters = new Set<Waiter>();
  readonly #after: { readonly number: number; readonly call: () => void }[] = [];
  /** An error that nobody was told of. */
  #untold: Error | undefined;
  #end: string | undefined;

  constructor(private readonly thread: Thread, private readonly ring: Int32Array) {
    thread.onMessage((message) => this.#hear(message as ThreadMessage));
    thread.onEnd((reason) => this.end(reason));
  }

  /** @throws DeviceError when the thread has ended. */
  checkAlive(): void {
    if (this.#end !== undefined) throw this.#deviceError();
  }

  /** Whether all that was asked for is done, and done rightly: then this thread may use all of the memory. */
  get idle(): boolean {
    this.freeDone();
    return this.#turns.length === 0 && this.#allDone && this.#untold === undefined;
  }

  /** Whether the thread has ended. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  /** A command; `after` is called some time after it is done. */
  push(command: Command, after?: () => void): void {
    this.#take({ command, after });
  }

  /** Work of this thread. An idle queue does the work at once, and its errors are thrown here. */
  here(work: () => void): void {
    if (this.idle) work();
    else this.#take({ here: work });
  }

  /** Calls `after` some time after all that was asked for before is done; never, where the thread has ended. */
  later(after: () => void): void {
    if (this.#end !== undefined) return;
    if (this.idle) after();
    else this.#take({ after });
  }

  /**
   * Resolves after all that was asked for before, then `here`.
   *
   * @throws what a command before it threw, unless an earlier waiter was told of it.
   */
  wait(
    turn: { readonly command: Command } | { readonly here: () => void },
  ): Promise<readonly TimedCall[] | undefined> {
    this.checkAlive();
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { resolve, reject, error: this.#untold };
      this.#untold = undefined;
      if (this.#waiters.size === 0) this.thread.keepAlive(true);
      this.#waiters.add(waiter);
      this.#take({ ...turn, waiter });
    });
  }

  /** Ends the thread; whoever waits is told why. */
  end(reason: string): void {
    if (this.#end !== undefined) return;
    this.#end = reason;
    this.#turns.length = 0;
    this.#after.length = 0;
    for (const waiter of this.#waiters) this.#settle(waiter, { error: this.#deviceError() });
    this.thread.end();
  }

  /** Calls what waits for commands that are done by now. */
  freeDone(): void {
    this.#done += (Atomics.load(this.ring, counters.done) - this.#done) | 0;
    while (this.#after.length > 0 && this.#after[0].number <= this.#done) this.#after.shift()!.call();
  }

  get #allDone(): boolean {
    // A failure is told by a message, which may come later than what the counters say.
    return this.#done === this.#sent && Atomics.load(this.ring, counters.failed) === (this.#failures | 0);
  }

  #deviceError(): DeviceError {
    return new DeviceError(
      `Cannot run on the CPU device: ${this.#end}. Open a new device, or one on this thread with cpuDevice().`,
    );
  }

  #take(turn: Turn): void {
    this.checkAlive();
    this.#turns.push(turn);
    if (this.#turns.length === 1) this.#advance();
  }

  /** Takes turns for as long as none has to wait. */
  #advance(): void {
    this.freeDone();
    let taken = 0;
    for (; taken < this.#turns.length; taken++) {
      const { command, here, waiter, after } = this.#turns[taken];
      if (here) {
        if (!this.#allDone) break;
        this.#do(here, waiter);
      } else if (command) {
        // The last place is for a fence, which tells when there is room again.
        if (this.#sent - this.#done >= ringCapacity - 1) break;
        this.#send(command);
        if (waiter) waiter.number = this.#sent;
      }
      if (after) this.#after.push({ number: this.#sent, call: after });
    }
    this.#turns.splice(0, taken);
    if (this.#turns.length > 0 && this.#told < this.#sent) this.#send([op.fence]);
  }

  #send(command: Command): void {
    putCommand(this.ring, this.#sent, command);
    this.#sent++;
    if (command[0] === op.fence || command[0] === op.trace) this.#told = this.#sent;
    Atomics.store(this.ring, counters.submitted, this.#sent | 0);
    Atomics.notify(this.ring, counters.submitted);
  }

  #do(work: () => void, waiter: Waiter | undefined): void {
    let error = waiter?.error;
    try {
      if (!error) work();
    } catch (thrown) {
      error = thrown as Error;
      if (!waiter) this.#fail(error, this.#sent + 1);
    }
    if (waiter) this.#settle(waiter, { error });
  }

  #hear(message: ThreadMessage): void {
    if (this.#end !== undefined) return;
    if (typeof message === "number") this.#settleUpTo(message);
    else if ("done" in message) this.#settleUpTo(message.done, message.trace);
    else if ("failure" in message) {
      this.#failures++;
      this.#fail(errorOf(message.failure), this.#counted(message.failure.command) + 1);
    }
    this.#advance();
  }

  #settleUpTo(done: number, trace?: readonly TimedCall[]): void {
    const number = this.#counted(done);
    for (const waiter of this.#waiters) {
      if (waiter.number === undefined || waiter.number > number) break;
      this.#settle(waiter, { error: waiter.error, trace });
    }
  }

  /** A number of the ring, which is counted modulo 2^32. */
  #counted(number: number): number {
    return this.#sent + ((number - this.#sent) | 0);
  }

  /** Everyone who waits for commands from this number on is told; else the next one who waits. */
  #fail(error: Error, from: number): void {
    let told = false;
    for (const waiter of this.#waiters) {
      if (waiter.number !== undefined && waiter.number < from) continue;
      waiter.error ??= error;
      told = true;
    }
    if (!told) this.#untold ??= error;
  }

  #settle(
    waiter: Waiter,
    { error, trace }: { readonly error?: Error; readonly trace?: readonly TimedCall[] },
  ): void {
    this.#waiters.delete(waiter);
    if (this.#waiters.size === 0) this.thread.keepAlive(false);
    if (error) waiter.reject(error);
    else waiter.resolve(trace);
  }
}

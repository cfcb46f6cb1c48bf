/**
 * Threads that share the steps of the CPU device: a leader, which takes the device's commands, and its helpers.
 *
 * A step is cut into chunks of items, and whoever is free takes the next chunk. Nobody waits for a thread that has no chunk: a
 * helper that the machine does not run costs nothing. A result does not depend on who did which chunk.
 *
 * The ticket names a step, and counts the chunks that nobody has taken. Threads lower it by compare and exchange, so
 * that a chunk is always one of the step that a thread has seen.
 *
 * @module
 */
import { sleepOn, waitBriefly } from "./patience.ts";
import { encodeStep, Functions, mostChunks, mostNumbers, OwnStep, type TeamStep } from "./team_steps.ts";

/** Threads of a team at most, the leader included. */
export const mostThreads = 64;

/** Steps are numbered by the other bits of a ticket. */
const stepBits = 24;

/** Numbers end soon after the start, so that each run of a team passes their end. */
const beforeFirst = 2 ** stepBits - 100;

/** Bytes of a helper's error message. */
const messageBytes = 512;

/** Words of a cache line: each counter has one, for several threads write them. */
const line = 16;

const counters = {
  ticket: 0,
  /** Chunks of this step that helpers have done. */
  finished: line,
  /** Helpers that sleep on the ticket. */
  sleepers: 2 * line,
  /** Whether the leader sleeps on `finished`. */
  leaderSleeps: 3 * line,
  /** The helper that failed in this step, 0 for none. */
  failed: 4 * line,
  /** How often the numbers of steps began anew. */
  era: 5 * line,
  messageLength: 5 * line + 1,
} as const;

const messageAt = 4 * 6 * line;
const stepAt = messageAt + messageBytes;
/** A line for each thread: the era that it has seen. */
const seenAt = (stepAt + 8 * mostNumbers) / 4;

/** What a helper is given once. */
export interface HelperSetup {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly control: Int32Array<SharedArrayBuffer>;
  /** 1 for the first helper: the leader is 0. */
  readonly thread: number;
}

/** Memory that a team's threads meet in. */
export function newControl(threads: number): Int32Array<SharedArrayBuffer> {
  const control = new Int32Array(new SharedArrayBuffer(4 * (seenAt + line * threads)));
  // Not 0, which says that numbers begin anew: a helper that falls asleep on the first ticket must wake by that.
  control[counters.ticket] = beforeFirst << 8;
  return control;
}

/** The leader's side. */
export class Team {
  readonly #functions: Functions;
  readonly #shared: Float64Array;
  #number = beforeFirst;
  #era = 0;

  constructor(
    { module, memory }: { readonly module: WebAssembly.Module; readonly memory: WebAssembly.Memory },
    /** Absent for a leader without helpers. */
    private readonly control: Int32Array<SharedArrayBuffer> | undefined,
  ) {
    this.#functions = new Functions(module, memory);
    this.#shared = control ? new Float64Array(control.buffer, stepAt, mostNumbers) : new Float64Array(0);
  }

  /** What runs a step. */
  ready(step: TeamStep): () => void {
    const { control } = this, chunks = control ? step.chunks : 1;
    const numbers = encodeStep({ ...step, chunks }, this.#functions);
    const own = new OwnStep(numbers, this.#functions, 0);
    if (!control || chunks === 1) return () => own.do(1);
    return () => {
      // No helper reads the step before: all its chunks are done.
      this.#shared.set(numbers);
      this.#share(control, own, chunks);
    };
  }

  #share(control: Int32Array, own: OwnStep, chunks: number): void {
    const number = this.#nextNumber(control);
    Atomics.store(control, counters.finished, 0);
    Atomics.store(control, counters.ticket, (number << 8) | chunks);
    // A helper counts itself as a sleeper before it looks at the ticket for the last time.
    if (Atomics.load(control, counters.sleepers) > 0) {
      Atomics.notify(control, counters.ticket, chunks - 1);
    }
    let taken = 0, error: unknown, failed = false;
    for (let left = take(control); left > 0; left = take(control)) {
      taken++;
      try {
        // After a failure chunks are taken to be left.
        if (!failed) own.do(left);
      } catch (thrown) {
        [error, failed] = [thrown, true];
      }
    }
    awaitCount(control, chunks - taken);
    const other = Atomics.load(control, counters.failed) !== 0 ? helperError(control) : undefined;
    if (failed) throw error;
    if (other) throw other;
  }

  /** A number that no helper takes for an earlier step's: where numbers begin anew, all helpers have looked since. */
  #nextNumber(control: Int32Array): number {
    this.#number = (this.#number + 1) % 2 ** stepBits;
    if (this.#number !== 0) return this.#number;
    this.#era++;
    Atomics.store(control, counters.era, this.#era);
    // An empty ticket of a new number wakes those that sleep.
    Atomics.store(control, counters.ticket, 0);
    Atomics.notify(control, counters.ticket);
    const threads = (control.length - seenAt) / line;
    for (let thread = 1; thread < threads; thread++) {
      const at = seenAt + line * thread;
      for (let seen; (seen = Atomics.load(control, at)) !== this.#era;) {
        if (!waitBriefly(control, at, seen)) sleepOn(control, at, seen);
      }
    }
    this.#number = 1;
    return 1;
  }
}

/** Takes a chunk: how many were left, with it; 0 where there is none. */
export function take(control: Int32Array): number {
  for (;;) {
    const ticket = Atomics.load(control, counters.ticket), left = ticket & mostChunks;
    if (left === 0) return 0;
    if (Atomics.compareExchange(control, counters.ticket, ticket, ticket - 1) === ticket) return left;
  }
}

/** Waits until helpers have done so many chunks: briefly awake, then asleep. */
function awaitCount(control: Int32Array, count: number): void {
  for (;;) {
    const finished = Atomics.load(control, counters.finished);
    if (finished === count) return;
    if (waitBriefly(control, counters.finished, finished)) continue;
    Atomics.store(control, counters.leaderSleeps, 1);
    sleepOn(control, counters.finished, finished);
    Atomics.store(control, counters.leaderSleeps, 0);
  }
}

/** The error of a helper, whose number and message it left. */
function helperError(control: Int32Array): Error {
  const bytes = new Uint8Array(control.buffer, messageAt, control[counters.messageLength]);
  const message = new TextDecoder().decode(bytes.slice());
  Atomics.store(control, counters.failed, 0);
  return new Error(message);
}

/** Leaves an error for the leader, unless another helper has left its own. */
function leaveError(control: Int32Array, thread: number, error: unknown): void {
  if (Atomics.compareExchange(control, counters.failed, 0, thread) !== 0) return;
  const bytes = new TextEncoder().encode(String(error)).subarray(0, messageBytes);
  new Uint8Array(control.buffer, messageAt, bytes.length).set(bytes);
  control[counters.messageLength] = bytes.length;
}

/** Says that a helper has seen where the numbers of steps began anew; whether that is news. */
export function lookAtEra(control: Int32Array, thread: number): boolean {
  const era = Atomics.load(control, counters.era), seen = seenAt + line * thread;
  if (Atomics.exchange(control, seen, era) === era) return false;
  Atomics.notify(control, seen);
  return true;
}

/** Does chunks for as long as the thread lives; `ready` is called before the first. */
export function serveTeam({ module, memory, control, thread }: HelperSetup, ready: () => void): never {
  const functions = new Functions(module, memory),
    numbers = new Float64Array(control.buffer, stepAt, mostNumbers);
  let own: OwnStep | undefined, number: number | undefined;
  ready();
  for (;;) {
    if (lookAtEra(control, thread)) number = undefined;
    const ticket = Atomics.load(control, counters.ticket), left = ticket & mostChunks;
    if (left === 0) {
      if (!waitBriefly(control, counters.ticket, ticket)) {
        Atomics.add(control, counters.sleepers, 1);
        sleepOn(control, counters.ticket, ticket);
        Atomics.sub(control, counters.sleepers, 1);
      }
      continue;
    }
    if (Atomics.compareExchange(control, counters.ticket, ticket, ticket - 1) !== ticket) continue;
    try {
      // The step stays until its last chunk is done.
      if (ticket >> 8 !== number) own = new OwnStep(numbers, functions, thread);
      number = ticket >> 8;
      own!.do(left);
    } catch (error) {
      leaveError(control, thread, error);
    }
    Atomics.add(control, counters.finished, 1);
    if (Atomics.load(control, counters.leaderSleeps) !== 0) Atomics.notify(control, counters.finished);
  }
}

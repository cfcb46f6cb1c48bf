/**
 * What the calling thread and the CPU device's thread say to each other: a ring of commands in shared memory, and
 * programs as bytes.
 *
 * Commands name programs, and bytes of one shared WASM memory. The thread that takes commands from the ring is the leader of a
 * team (cpu_team.ts).
 *
 * @module
 */
import type { DType } from "../../kernels/kernel.ts";
import type { TeamStep } from "./team_steps.ts";

/** What a command does; the numbers that follow it are in brackets. */
export const op = {
  /** [program] */
  run: 1,
  /** [from, to, bytes] */
  copy: 2,
  /** Makes a program ready [program, at, bytes]; see {@linkcode encodeProgram}. */
  define: 3,
  /** [program] */
  forget: 4,
  /** Says that all commands before it are done. */
  fence: 5,
  /** Runs a program and says what each launch took; a fence, too [program]. */
  trace: 6,
} as const;

/** An operation and up to three numbers below 2^32. */
export type Command = readonly [operation: number, ...numbers: number[]];

const commandWords = 4;
/** Commands that the ring holds; a power of two. */
export const ringCapacity = 1024;
/** Words of a cache line: each counter has one, for two threads write them. */
const line = 16;

/** Commands are counted modulo 2^32, by both threads. */
export const counters = {
  /** Written by the calling thread; the other sleeps on it. */
  submitted: 0,
  /** Written by the device's thread. */
  done: line,
  /** Commands that threw. */
  failed: 2 * line,
} as const;

const slotsAt = 3 * line;

/** A ring's memory. */
export function newRing(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(4 * (slotsAt + commandWords * ringCapacity)));
}

/** Writes the command of a number; the counter of submitted ones is raised by the caller. */
export function putCommand(ring: Int32Array, number: number, command: Command): void {
  const at = slotsAt + commandWords * (number & (ringCapacity - 1));
  for (let i = 0; i < command.length; i++) ring[at + i] = command[i];
}

/** The command of a number, with all of its words. */
export function takeCommand(ring: Int32Array, number: number): [number, number, number, number] {
  const at = slotsAt + commandWords * (number & (ringCapacity - 1));
  return [ring[at], ring[at + 1] >>> 0, ring[at + 2] >>> 0, ring[at + 3] >>> 0];
}

/** Elements in the shared memory. */
export interface SentBuffer {
  readonly dtype: DType;
  readonly at: number;
  readonly count: number;
}

/** A call as it is sent: functions of the WASM module, or a kernel of the library in TypeScript. */
export type SentCall =
  | { readonly kernel: string; readonly steps: readonly TeamStep[] }
  | {
    readonly kernel: string;
    readonly buffers: Readonly<Record<string, SentBuffer>>;
    readonly uniforms: Readonly<Record<string, number>>;
  };

const numbersAt = 8;

/** A program as bytes: JSON that names numbers by their index, for JSON has neither NaN nor -0, and the numbers. */
export function encodeProgram(calls: readonly SentCall[]): Uint8Array<ArrayBuffer> {
  const numbers: number[] = [];
  const text = new TextEncoder().encode(
    JSON.stringify(calls, (_, value) => typeof value === "number" ? numbers.push(value) - 1 : value),
  );
  const bytes = new Uint8Array(numbersAt + 8 * numbers.length + text.length);
  new Uint32Array(bytes.buffer, 0, 1)[0] = numbers.length;
  new Float64Array(bytes.buffer, numbersAt, numbers.length).set(numbers);
  bytes.set(text, numbersAt + 8 * numbers.length);
  return bytes;
}

/** The program in bytes that {@linkcode encodeProgram} made. */
export function decodeProgram(bytes: Uint8Array<ArrayBuffer>): SentCall[] {
  const [count] = new Uint32Array(bytes.buffer, 0, 1);
  const numbers = new Float64Array(bytes.buffer, numbersAt, count);
  const text = new TextDecoder().decode(bytes.subarray(numbersAt + 8 * count));
  return JSON.parse(text, (_, value) => typeof value === "number" ? numbers[value] : value);
}

/** What the device's thread is given once. */
export interface ThreadSetup {
  /** Absent where kernels run in TypeScript alone. */
  readonly module?: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly ring: Int32Array<SharedArrayBuffer>;
  /** Where a team meets; absent for a thread without helpers. */
  readonly control?: Int32Array<SharedArrayBuffer>;
}

/** A failed command: its number, the kernel if it is known, and what was thrown. */
export interface Failure {
  readonly command: number;
  readonly kernel?: string;
  readonly name: string;
  readonly message: string;
}

/** One launch of a traced program, microseconds from its begin. */
export interface TimedCall {
  readonly kernel: string;
  readonly beginUs: number;
  readonly endUs: number;
}

/** What the device's thread says. A failure is said before the fences after it. */
export type ThreadMessage =
  | { readonly ready: true }
  | { readonly failure: Failure }
  /** So many commands are done; a number alone is the fastest message. */
  | number
  /** The same, after a trace. */
  | { readonly done: number; readonly trace?: readonly TimedCall[] };

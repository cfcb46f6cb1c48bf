/**
 * Processes that `bench:cpu` measures. Another software's stays open, and is asked for one figure after the other. Fresh
 * processes are measured from their start to the first token.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Measures } from "./cpu_measures.ts";

/** A process that answers, and ends when it is closed. */
export interface Peer {
  readonly versions: Readonly<Record<string, string>>;
  readonly measures: Measures;
  readonly close: () => void;
}

/** A command and its arguments. */
export type Command = readonly [string, ...string[]];

function start([file, ...args]: Command) {
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "ignore"] });
  const failed = new Promise<never>((_, reject) => child.once("error", reject));
  // Whoever waits for a line hears of it.
  failed.catch(() => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async <T>(): Promise<T> => {
    const { value, done } = await Promise.race([lines.next(), failed]);
    if (done) {
      throw new Error(`Cannot measure by "${[file, ...args].join(" ")}": it has ended; run it to see why`);
    }
    return JSON.parse(value);
  };
  return { child, answer };
}

/**
 * Starts a peer's script.
 *
 * @throws Error when the process ends before its first line.
 */
export async function openPeer(command: Command): Promise<Peer> {
  const { child, answer } = start(command);
  const { versions, names } = await answer<Pick<Peer, "versions"> & { names: string[] }>();
  const measure = (name: string) => (): Promise<number> => {
    child.stdin.write(`${JSON.stringify(name)}\n`);
    return answer<number>();
  };
  const measures = Object.fromEntries(names.map((name) => [name, measure(name)]));
  return { versions, measures, close: () => child.kill() };
}

/** A fresh process: seconds from its start to its line, and the number in the line. */
export async function fresh(command: Command): Promise<{ seconds: number; peakMiB: number }> {
  const begin = performance.now();
  const { child, answer } = start(command);
  const peakMiB = await answer<number>(), seconds = (performance.now() - begin) / 1000;
  child.kill();
  return { seconds, peakMiB };
}

/** The most memory that this process has had; Linux alone says it. */
export function peakMiB(): number {
  const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))!;
  return Number(kibibytes) / 1024;
}

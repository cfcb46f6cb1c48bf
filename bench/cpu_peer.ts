/**
 * Another software's figures for `bench:cpu`: a process that stays open, and is asked for one measurement after the other.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** Measurements by name: a figure each time one is called. */
export type Measures = Readonly<Record<string, () => Promise<number> | number>>;

/** Whose measurements they are. */
export interface Entrant {
  readonly description: string;
  readonly measures: Measures;
}

/**
 * Starts bench/peers/cpu.py with so many threads.
 *
 * @throws Error when the process ends before its first line.
 */
export async function openPeer(python: string, threads: number): Promise<Entrant> {
  const child = spawn(python, ["bench/peers/cpu.py", String(threads)], { stdio: ["pipe", "pipe", "ignore"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async <T>(): Promise<T> => {
    const { value, done } = await lines.next();
    if (done) {
      throw new Error(`Cannot measure by ${python}: bench/peers/cpu.py has ended; run it alone to see why`);
    }
    return JSON.parse(value);
  };
  const { description, names } = await answer<{ description: string; names: string[] }>();
  const measure = (name: string) => (): Promise<number> => {
    child.stdin.write(`${JSON.stringify(name)}\n`);
    return answer<number>();
  };
  return { description, measures: Object.fromEntries(names.map((name) => [name, measure(name)])) };
}

/**
 * How many processor cores this process may use.
 *
 * @module
 */
import { importOptional } from "./runtime.ts";

interface Files {
  readFileSync(path: string, encoding: "utf8"): string;
}

interface System {
  availableParallelism?(): number;
}

/** The numbers of a list of processors as Linux writes them: "0-3,8". */
export function processorsOf(list: string): number[] {
  return list.trim().split(",").flatMap((range) => {
    const [from, to = from] = range.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

/** The cores of the processors that Linux lets this process use; throws elsewhere. */
function linuxCores(read: (path: string) => string): number {
  const allowed = /^Cpus_allowed_list:\s*(.+)$/m.exec(read("/proc/self/status"))![1];
  const cores = processorsOf(allowed).map((processor) =>
    read(`/sys/devices/system/cpu/cpu${processor}/topology/thread_siblings_list`)
  );
  return new Set(cores).size;
}

/** Processors that a container's quota of time is worth; throws where there is none. */
function quota(read: (path: string) => string): number {
  const [time, period] = read("/sys/fs/cgroup/cpu.max").split(" ").map(Number);
  if (!(time > 0)) throw new Error("there is no quota");
  return Math.max(1, Math.round(time / period));
}

/** A positive number, or Infinity: another system, or no permission to look. */
function attempt(measure: () => number | undefined): number {
  try {
    return measure() || Infinity;
  } catch {
    return Infinity;
  }
}

/**
 * Physical cores as far as the system says them: on Linux those that this process may use, elsewhere half of the
 * processors, rounded up. Never more than a container's quota, or than the runtime says are available.
 */
export async function physicalCores(): Promise<number> {
  const [files, system] = await Promise.all([
    importOptional<Files>("node:fs"),
    importOptional<System>("node:os"),
  ]).catch(() => []);
  const read = (path: string): string => files!.readFileSync(path, "utf8");
  const processors = attempt(() => system?.availableParallelism?.() ?? navigator.hardwareConcurrency);
  const known = attempt(() => linuxCores(read));
  const cores = Math.min(
    known < Infinity ? known : Math.ceil(processors / 2),
    processors,
    attempt(() => quota(read)),
  );
  return cores < Infinity ? cores : 1;
}

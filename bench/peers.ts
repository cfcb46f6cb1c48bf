/**
 * Runs a peer's script and reads what it measured.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { Measurement } from "./measurement.ts";

/** A script's measurements, and what it was run with. */
export interface PeerRun {
  readonly command: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly clock: string;
  readonly measurements: readonly Measurement[];
}

/** A script prints JSON, one object a line: first its `versions` and `clock`, then each measurement. */
export function parsePeer(output: string): Omit<PeerRun, "command"> {
  const [{ versions, clock }, ...measurements] = output.trim().split("\n").map((line) => JSON.parse(line));
  return { versions, clock, measurements };
}

/** Runs `peers/FILE` with a Python that has torch, transformers and peft. */
export function measurePeer(
  python: string,
  file: string,
  { quick, cpu, rows, rounds }: {
    readonly quick: boolean;
    readonly cpu: boolean;
    readonly rows?: string;
    readonly rounds?: number;
  },
): PeerRun {
  const args = [...(quick ? ["--quick"] : []), ...(cpu ? ["--cpu"] : [])];
  const chosen = [
    ...(rows === undefined ? [] : ["--rows", rows]),
    ...(rounds === undefined ? [] : ["--rounds", String(rounds)]),
  ];
  const script = join(import.meta.dirname!, "peers", file);
  const output = execFileSync(python, [script, ...args, ...chosen], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    cwd: join(import.meta.dirname!, ".."),
    maxBuffer: 2 ** 26,
  });
  return { command: ["python3", `bench/peers/${file}`, ...args].join(" "), ...parsePeer(output) };
}

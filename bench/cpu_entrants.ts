/**
 * Who is measured by `bench:cpu`: the CPU device, llama.cpp, and torch with PEFT, each with a number of threads.
 *
 * @module
 */
import process from "node:process";
import type { Device } from "../src/device/device.ts";
import { ggufAdapter, ggufFile, type GgufFormat } from "./cpu_gguf.ts";
import type { Measures } from "./cpu_measures.ts";
import { type Command, fresh, openPeer } from "./cpu_peer.ts";

/** Whose measurements they are. */
export interface Entrant {
  /** A column of the table. */
  readonly name: string;
  readonly isPeer: boolean;
  readonly threads?: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly measures: Measures;
  /** Ends its processes. */
  readonly close: () => void;
}

const counted = (threads: number): string => threads === 1 ? "1 thread" : `${threads} threads`;

/** Rows that fresh processes are measured by: names, and the command of each. */
interface FreshCommands {
  readonly starts: Readonly<Record<string, Command | undefined>>;
  readonly memories: Readonly<Record<string, Command | undefined>>;
}

/** Measurements of fresh processes: until the first token, and the most memory of a process that writes one. */
function freshMeasures({ starts, memories }: FreshCommands): Measures {
  const rows = (
    commands: Readonly<Record<string, Command | undefined>>,
    pick: (run: Awaited<ReturnType<typeof fresh>>) => number,
    name: (row: string) => string,
  ) =>
    Object.entries(commands).flatMap(([row, command]) =>
      command ? [[name(row), async () => pick(await fresh(command))] as const] : []
    );
  return Object.fromEntries([
    ...rows(starts, ({ seconds }) => seconds, (row) => `demo model with ${row}, start to the first token, s`),
    ...rows(memories, ({ peakMiB }) => peakMiB, (row) => `SmolLM2-135M's shape, memory${row}, MiB`),
  ]);
}

const formats: Readonly<Record<string, GgufFormat>> = {
  "": "f32",
  ", 16 bits": "f16",
  ", 8 bits": "q8_0",
  ", 4 bits": "q4_0",
};

/** The same command for each format of SmolLM2-135M's shape. */
const eachFormat = (command: (file: string) => Command): Record<string, Command> =>
  Object.fromEntries(
    Object.entries(formats).map(([row, format]) => [row, command(ggufFile("smol", format))]),
  );

/** The CPU device of this project. Where `threads` is given, fresh processes are measured, too. */
export function own(
  device: Device,
  { threads, measures }: { readonly threads?: number; readonly measures: Measures },
): Entrant {
  const entrant = { isPeer: false, threads, versions: {}, close: () => device.destroy() };
  if (threads === undefined) return { ...entrant, name: device.description, measures };
  const command = (model: string, ...more: string[]): Command =>
    [process.execPath, "run", "-A", "bench/cpu_start.ts", model, String(threads), ...more] as const;
  const demo = (adapter: string): Command => command("examples/demo/base", adapter);
  const made = freshMeasures({
    starts: { "LoRA r = 8": demo("lora-kjv"), "FourierFT": demo("fourierft-kjv") },
    memories: eachFormat((file) => command(file)),
  });
  return { ...entrant, name: `ours, ${counted(threads)}`, measures: { ...measures, ...made } };
}

/** llama.cpp by node-llama-cpp, which was installed in `folder`. */
export async function llamaCpp(folder: string, threads: number): Promise<Entrant> {
  const command: Command = ["node", "bench/peers/llama_cpp.mjs", folder, String(threads)];
  const peer = await openPeer(command);
  const made = freshMeasures({
    starts: { "LoRA r = 8": [...command, ggufFile("demo", "f32"), ggufAdapter] },
    memories: eachFormat((file) => [...command, file]),
  });
  const name = `llama.cpp, ${counted(threads)}`, measures = { ...peer.measures, ...made };
  return { ...peer, name, isPeer: true, threads, measures };
}

/** torch, transformers and PEFT of a Python. */
export async function torch(python: string, threads: number): Promise<Entrant> {
  const command: Command = [python, "bench/peers/cpu.py", String(threads)];
  const peer = await openPeer(command);
  const made = freshMeasures({
    starts: { "LoRA r = 8": [...command, "lora-kjv"], "FourierFT": [...command, "fourierft-kjv"] },
    memories: { "": [...command, "smol"] },
  });
  const name = `PEFT, ${counted(threads)}`, measures = { ...peer.measures, ...made };
  return { ...peer, name, isPeer: true, threads, measures };
}

/** Whether more is better in a row. */
const isSpeed = (row: string): boolean => row.endsWith("/s");

/** The best of a row's figures: other work on the machine makes figures worse alone. */
export function fastest(row: string, values: readonly number[]): number {
  return isSpeed(row) ? Math.max(...values) : Math.min(...values);
}

/** How many times as good one figure of a row is as another. */
export function ratio(row: string, one: number, other: number): number {
  return isSpeed(row) ? one / other : other / one;
}

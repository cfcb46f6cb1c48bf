/**
 * The command line as processes, with a model small enough that a training step takes milliseconds.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { uniforms } from "../src/engine/random.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const fixtures = join(root, "test/fixtures");

/** The path of a file or folder in test/fixtures/training. */
export const trainingFixture = (name: string): string => join(fixtures, "training", name);

/** The path of a file or folder in test/fixtures/training_round_trip. */
export const roundTripFixture = (name: string): string => join(fixtures, "training_round_trip", name);

/** `--target-modules` of every linear of the tiny model's layers. */
export const everyLinear = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj";

/** A script as a process of the runtime that runs this test. */
export function startScript(script: string, args: readonly string[]): ChildProcess {
  const command = "Deno" in globalThis
    ? ["run", "-A", "--no-check", "--unstable-no-legacy-abort", script]
    : [script];
  return spawn(process.execPath, [...command, ...args], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
}

/** The command line as a process. */
export const start = (args: readonly string[]): ChildProcess => startScript("src/cli/main.ts", args);

/** How a process ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Collects what a process writes until it ends. */
export function ended(child: ChildProcess): Promise<Ended> {
  const out: Uint8Array[] = [];
  const err: Uint8Array[] = [];
  child.stdout!.on("data", (data) => out.push(data));
  child.stderr!.on("data", (data) => err.push(data));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
  });
}

/** Waits for a line on standard error; the process must not end before. */
export function says(child: ChildProcess, line: RegExp): Promise<RegExpExecArray> {
  let text = "";
  return new Promise((resolve, reject) => {
    child.stderr!.on("data", (data) => {
      text += data;
      const found = line.exec(text);
      if (found) resolve(found);
    });
    child.once("close", (code) => reject(new Error(`the process ended with ${code}: ${text}`)));
  });
}

/** Sends a signal. Not child.kill: Deno then reports the signal it sent, however the child ended. */
export function send(child: ChildProcess, signal: "SIGINT" | "SIGKILL" | "SIGTERM"): void {
  process.kill(child.pid!, signal);
}

/** Runs `body` with a new folder in which `base` is the tiny model, and takes the folder away. */
export async function withTinyModel(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "fourierft-test-"));
  try {
    await cp(trainingFixture("base"), join(folder, "base"), { recursive: true });
    await cp(roundTripFixture("tokenizer.json"), join(folder, "base/tokenizer.json"));
    await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** So many words of the tiny model's vocabulary; each is one token. */
export function wordsOf(count: number, seed = 1): string {
  const random = uniforms(seed);
  return Array.from({ length: count }, () => `w${1 + Math.floor(63 * random())}`).join(" ");
}

/** Writes the data of a run into a folder of `withTinyModel`, and returns the arguments that train on it. */
export async function tinyRun(
  folder: string,
  data: string | Uint8Array,
  name = "data.txt",
): Promise<string[]> {
  await writeFile(join(folder, name), data);
  return [
    ...["train", "--model", join(folder, "base"), "--data", join(folder, name), "--device", "cpu"],
    ...["--batch-size", "2", "--context-length", "8", "--n-frequency", "20", "--scaling", "30"],
  ];
}

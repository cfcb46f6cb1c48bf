/**
 * The programs of the scale test as processes on loopback: found, started, waited for, killed.
 *
 * @module
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";

/** A program that is not installed: the test cannot run, which is no success. */
export class MissingProgramError extends Error {}

/** Where Debian has programs that are not in every user's PATH. */
const folders = [process.env.PATH, "/usr/sbin", "/usr/local/sbin"].join(":");

/** Checks that a program runs, and throws with the way to install it. */
export function needProgram(name: string, install: string): void {
  try {
    execFileSync(name, ["--version"], { env: { ...process.env, PATH: folders }, stdio: "ignore" });
  } catch (error) {
    // HAProxy has another flag for its version, and says so by its status.
    if ((error as { code?: string }).code !== "ENOENT") return;
    throw new MissingProgramError(`Cannot run the scale test without ${name}: ${install}`);
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function accepts(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => (socket.destroy(), resolve(true)));
    socket.once("error", () => resolve(false));
  });
}

/** A program on a port. */
export class Program {
  #child: ChildProcess | undefined;
  #output = "";

  constructor(
    readonly port: number,
    private readonly command: readonly string[],
    private readonly environment: Readonly<Record<string, string>> = {},
  ) {}

  /** Starts it, and waits until its port accepts connections. */
  async start(mostSeconds = 120): Promise<void> {
    const [name, ...args] = this.command;
    const env = { ...process.env, PATH: folders, ...this.environment };
    const child = spawn(name, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data) => this.#output = `${this.#output}${data}`.slice(-4000));
    }
    const ended = new Promise<never>((_, reject) => {
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`${this.command.join(" ")} ended: ${this.#output}`)));
    });
    ended.catch(() => {});
    for (const end = performance.now() + mostSeconds * 1000; !await accepts(this.port);) {
      if (performance.now() > end) throw new Error(`${name} does not listen: ${this.#output}`);
      await Promise.race([delay(100), ended]);
    }
  }

  /** Kills it without warning, and waits for its end. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const end = new Promise((resolve) => child.once("exit", resolve));
    process.kill(child.pid!, "SIGKILL");
    await end;
  }
}
